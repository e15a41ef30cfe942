-- The sampled pairs with their value after the shadow prices of what they use of their product.
with

priced as (
    select
        prefilter_sample.*,
        products.product_row,
        prefilter_sample.revenue / products.exchange_rate as expected_spend
    from prefilter_sample
    inner join products using (institution_id, product_id)
)

select
    priced.* exclude (product_row, expected_spend),
    value_before_quota(priced, product_prices) - product_prices.price_of_quota as net_value
from priced
inner join product_prices using (product_row)
