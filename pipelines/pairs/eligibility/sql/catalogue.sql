-- The day's catalogue with price cap, exchange rate and the `reason` why a product is closed. Terms
-- that would make the value of any match impossible close the product; the others' day goes on.

create or replace table catalogue as

select
    mart_products.*,
    price_caps.price_cap,
    exchange_rates.exchange_rate,
    case
        when not mart_products.is_open then coalesce(mart_products.closed_reason, 'closed')
        when invalid_rules.reason is not null then invalid_rules.reason
        when exchange_rates.exchange_rate is null
            then 'no exchange rate for ' || mart_products.currency
        -- not (...): NaN and unknown numbers close as well
        when
            not coalesce(
                isfinite(mart_products.amount_min)
                and isfinite(mart_products.amount_max)
                and isfinite(mart_products.apr_min)
                and isfinite(mart_products.apr_max)
                and isfinite(mart_products.price)
                and isfinite(coalesce(mart_products.daily_budget, 0))
                and isfinite(coalesce(mart_products.monthly_budget, 0))
                and isfinite(coalesce(mart_products.target_cost_per_approval, 0))
                and isfinite(coalesce(mart_products.target_cost_per_funded, 0)), false
            )
            then 'impossible terms: a limit or price is not a finite number'
        when mart_products.price_model = 'cps' and mart_products.price > 1
            then 'impossible price: a share above 1 of the funded amount'
        when mart_products.price * exchange_rates.exchange_rate > $max_pair_value
            then 'impossible price: above the largest value that a match can have'
    end as reason
from mart_products
left join price_caps
    on
        mart_products.institution_kind = price_caps.institution_kind
        and mart_products.segment = price_caps.segment
        and mart_products.currency = price_caps.currency
left join exchange_rates on mart_products.currency = exchange_rates.currency
left join invalid_rules
    on
        mart_products.institution_id = invalid_rules.institution_id
        and mart_products.product_id = invalid_rules.product_id
