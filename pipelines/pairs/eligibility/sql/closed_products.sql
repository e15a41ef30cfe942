-- Products of `catalogue` that take no leads on the day, each with its reason.

create or replace table closed_products as

select
    institution_id,
    product_id,
    reason
from catalogue
where reason is not null
order by institution_id, product_id
