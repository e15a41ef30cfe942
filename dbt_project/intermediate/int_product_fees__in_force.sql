-- One row per fee of the lists of fees in force, of any product that they name. An institution that
-- sends no fees keeps its last ones: a missing file must not make a loan cheaper.

with fees as (

    select * from {{ ref("stg_lake__product_fees") }}

),

lists_of_fees as (

    {{ effective_catalogues("fees", "institution_id") }}

)

select
    fees.institution_id,
    fees.product_id,
    fees.fee,
    fees.basis,
    fees.value,
    fees.currency,
    fees.charged_when,
    fees.collector,
    fees.is_contingent,
    fees.known_on

from fees
inner join lists_of_fees
    on
        fees.institution_id = lists_of_fees.institution_id
        and fees.landed_on = lists_of_fees.landed_on
        and fees.known_on = lists_of_fees.known_on
where lists_of_fees.replaced_on is null
