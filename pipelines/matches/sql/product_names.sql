-- Products with the names that a person is shown; an institution without a name shows its id.
create or replace view product_names as
with

institution_names as (
    select
        institution_id,
        arg_max(name, (landed_on, known_at, name)) as name
    from institutions
    group by institution_id
)

select
    products.institution_id,
    products.product_id,
    products.name as product_name,
    coalesce(institution_names.name, products.institution_id) as institution_name
from products
left join institution_names using (institution_id)
