-- One row per hard rule in force on the business date. An institution that sends no rules keeps its
-- last ones: a missing file must not admit anyone.

with rules as (

    select * from {{ ref("stg_lake__product_rules") }}

),

sets_of_rules as (

    {{ effective_catalogues("rules", "institution_id") }}

)

select
    rules.institution_id,
    rules.product_id,
    rules.attribute,
    rules.op,
    rules.value

from rules
inner join sets_of_rules
    on
        rules.institution_id = sets_of_rules.institution_id
        and rules.landed_on = sets_of_rules.landed_on
        and rules.known_on = sets_of_rules.known_on
inner join {{ ref("products") }} as products
    on
        rules.institution_id = products.institution_id
        and rules.product_id = products.product_id
where sets_of_rules.replaced_on is null
