-- One row per product and business date at which its history is needed: the dates of leads with a
-- known outcome there, and the business date itself for every product in force.

select
    institution_id,
    product_id,
    business_date
from {{ ref("int_pairs") }}

union distinct

select
    institution_id,
    product_id,
    {{ run_day() }} as business_date
from {{ ref("int_products__versions") }}
where is_in_force
