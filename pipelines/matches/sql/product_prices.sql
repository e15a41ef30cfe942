-- The shadow prices of the plan by product, from `price_rows` (columns of `prices.parquet`).
--
-- Where a product pays per lead, its budget is a quota: the price of quota is that of both.
-- `highest` and `least` columns are the terms that a guarantee holds the product's matches to. The
-- price of fees is that of fees as the models expect them; only a share of them counts.
create or replace table product_prices as
with

rows_of_product as (
    select
        products.product_row,
        products.price_model,
        products.price as price_of_lead,
        products.fees_to_expected,
        price_rows.kind,
        price_rows."limit",
        price_rows.price
    from products
    left join price_rows
        on
            products.institution_id = price_rows.institution_id
            and products.product_id = price_rows.product_id
            and price_rows."column" is null
),

fees as (
    select coalesce(max(price), 0) as price
    from price_rows
    where kind = 'fees'
),

by_product as (
    select
        product_row,
        any_value(price_model) as price_model,
        any_value(price_of_lead) as price_of_lead,
        any_value(fees_to_expected) as fees_to_expected,
        coalesce(max(price) filter (where kind = 'quota'), 0) as price_of_quota,
        coalesce(max(price) filter (where kind = 'budget'), 0) as price_of_budget,
        coalesce(max("limit") filter (where kind = 'approval_rate'), 0) as least_approval_rate,
        coalesce(max(price) filter (where kind = 'approval_rate'), 0) as price_of_approval_rate,
        coalesce(max("limit") filter (where kind = 'cost_per_funded'), 0)
            as highest_cost_per_funded,
        coalesce(max(price) filter (where kind = 'cost_per_funded'), 0) as price_of_cost_per_funded,
        coalesce(max("limit") filter (where kind = 'cost_per_approval'), 0)
            as highest_cost_per_approval,
        coalesce(max(price) filter (where kind = 'cost_per_approval'), 0)
            as price_of_cost_per_approval
    from rows_of_product
    group by product_row
)

select
    * exclude (price_model, price_of_lead, fees_to_expected) replace (
        price_of_quota
        + case when price_model = 'cpl' then price_of_budget * price_of_lead else 0 end
            as price_of_quota,
        case when price_model = 'cpl' then 0.0 else price_of_budget end as price_of_budget
    ),
    fees.price * fees_to_expected as price_of_fees
from by_product
cross join fees
order by product_row
