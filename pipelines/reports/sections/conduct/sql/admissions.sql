-- The admission of each institution in the catalogue, its open products and its matches of the day.

with matched as (
    select
        institution_id,
        count(*) as matches
    from day_matches
    group by institution_id
)

select
    products.institution_id,
    max(products.institution_kind) as kind,
    cast(max(products.admitted_from) as varchar) as admitted_from,
    cast(max(products.admitted_to) as varchar) as admitted_to,
    count(*) as products,
    count(*) filter (where products.is_open) as open_products,
    coalesce(max(matched.matches), 0) as matches,
    coalesce(
        max(products.admitted_from) <= $day
        and coalesce(max(products.admitted_to) >= $day, true), false
    ) as is_admitted
from day_products as products
left join matched on products.institution_id = matched.institution_id
group by products.institution_id
order by
    is_admitted,
    max(products.admitted_to) nulls last,
    products.institution_id
