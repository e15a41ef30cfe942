-- Each product of the institutions' catalogues in force on `$day` and on `$as_of`, with its price
-- cap.
--
-- A catalogue replaces the earlier one of its sender as a whole; one that came late, when a newer
-- one was known already, replaces nothing.

create or replace table gate.catalogue as

with dates as (

    select unnest(list_distinct([cast($day as date), cast($as_of as date)])) as judged_on

),

product_lists as (

    select
        dates.judged_on,
        products.institution_id,
        max_by(
            struct_pack(landed_on := products.landed_on, known_on := products.known_on),
            struct_pack(landed_on := products.landed_on, known_on := products.known_on)
        ) as newest
    from dates
    inner join gate.products on dates.judged_on >= products.known_on
    group by dates.judged_on, products.institution_id

),

products as (

    select
        product_lists.judged_on,
        products.*
    from product_lists
    inner join gate.products
        on
            product_lists.institution_id = products.institution_id
            and product_lists.newest.landed_on = products.landed_on
            and product_lists.newest.known_on = products.known_on

),

capped as (

    select
        products.judged_on,
        products.institution_id,
        products.product_id,
        min(caps.cap) as cap
    from products
    inner join gate.admissions
        on
            products.judged_on = admissions.judged_on
            and products.institution_id = admissions.institution_id
    inner join gate.caps
        on
            coalesce(caps.kind, admissions.kind) = admissions.kind
            and coalesce(caps.segment, products.segment) = products.segment
            and products.currency = caps.currency
            and products.judged_on between caps.valid_from and caps.valid_to
    group by products.judged_on, products.institution_id, products.product_id

)

select
    products.judged_on,
    products.institution_id,
    products.product_id,
    products.price_model,
    products.price,
    products.daily_quota,
    products.daily_budget,
    products.monthly_quota,
    products.monthly_budget,
    products.segment,
    products.currency,
    products.amount_max,
    products.term_min_months,
    products.term_max_months,
    products.apr_min,
    products.apr_max,
    coalesce(products.repayment, 'equal_instalments') as repayment,
    capped.cap,
    least(products.apr_max, capped.cap) as highest_rate,
    products.status = 'active'
    and products.valid_from <= products.judged_on
    and coalesce(products.valid_to, products.judged_on) >= products.judged_on as is_open
from products
left join capped
    on
        products.judged_on = capped.judged_on
        and products.institution_id = capped.institution_id
        and products.product_id = capped.product_id
