-- The catalogue of the day with price cap, exchange rate, what a loan is charged besides its
-- interest, and the `reason` why a product is closed. Terms that would make the value of any match
-- impossible close the product; the others' day goes on. `whole_cost_cap` is the highest annual
-- cost of a loan with all its fees (null: its rate alone is capped); fees may never take it above
-- `$highest_rate`.

create or replace table catalogue as

with certain_fees as (

    select
        *,
        basis = 'fixed' as is_fixed
    from mart_product_fees
    where not is_contingent and "value" > 0

),

charges as (

    select
        institution_id,
        product_id,
        sum("value") filter (where charged_when = 'upfront' and not is_fixed) as upfront_share,
        sum("value") filter (where charged_when = 'upfront' and is_fixed) as upfront_fixed,
        sum("value") filter (where charged_when = 'each_period' and basis = 'share_of_amount')
            as period_share_of_amount,
        sum("value") filter (where charged_when = 'each_period' and basis = 'share_of_balance')
            as period_share_of_balance,
        sum("value") filter (where charged_when = 'each_period' and is_fixed) as period_fixed,
        sum("value") filter (where charged_when = 'at_end' and basis = 'share_of_amount')
            as end_share_of_amount,
        sum("value") filter (where charged_when = 'at_end' and basis = 'share_of_balance')
            as end_share_of_balance,
        sum("value") filter (where charged_when = 'at_end' and is_fixed) as end_fixed
    from certain_fees
    group by institution_id, product_id

),

stated_lines as (

    select
        institution_id,
        product_id,
        list(distinct if(is_contingent, 'contingent', 'certain')) as fee_lines
    from mart_product_fees
    group by institution_id, product_id

)

select
    mart_products.* replace (
        coalesce(mart_products.repayment, 'equal_instalments') as repayment
    ),
    cost_rules.price_cap,
    coalesce(cost_rules.is_compound, true) as is_compound,
    case
        when cost_rules.caps_whole_cost then coalesce(cost_rules.price_cap, $highest_rate)
        when charges.product_id is not null then $highest_rate
    end as whole_cost_cap,
    list_has_all(coalesce(stated_lines.fee_lines, []), coalesce(cost_rules.fee_lines, []))
        as states_costs,
    coalesce(round(charges.upfront_share, 12), 0) as upfront_share,
    coalesce(round(charges.upfront_fixed, 12), 0) as upfront_fixed,
    coalesce(round(charges.period_share_of_amount, 12), 0) as period_share_of_amount,
    coalesce(round(charges.period_share_of_balance, 12), 0) as period_share_of_balance,
    coalesce(round(charges.period_fixed, 12), 0) as period_fixed,
    coalesce(round(charges.end_share_of_amount, 12), 0) as end_share_of_amount,
    coalesce(round(charges.end_share_of_balance, 12), 0) as end_share_of_balance,
    coalesce(round(charges.end_fixed, 12), 0) as end_fixed,
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
left join cost_rules
    on
        mart_products.institution_kind = cost_rules.institution_kind
        and mart_products.segment = cost_rules.segment
        and mart_products.currency = cost_rules.currency
left join exchange_rates on mart_products.currency = exchange_rates.currency
left join invalid_rules
    on
        mart_products.institution_id = invalid_rules.institution_id
        and mart_products.product_id = invalid_rules.product_id
left join charges
    on
        mart_products.institution_id = charges.institution_id
        and mart_products.product_id = charges.product_id
left join stated_lines
    on
        mart_products.institution_id = stated_lines.institution_id
        and mart_products.product_id = stated_lines.product_id
