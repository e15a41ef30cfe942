-- The value of a pair less the shadow prices of all that it uses of its product but the quota.
create or replace macro value_before_quota(pair, prices) as (
    pair.expected_value
    - prices.price_of_budget * pair.expected_spend
    - prices.price_of_approval_rate * (prices.least_approval_rate - pair.p_approve)
    - prices.price_of_cost_per_funded
    * (pair.revenue - prices.highest_cost_per_funded * pair.p_approve * pair.p_fund)
    - prices.price_of_cost_per_approval
    * (pair.revenue - prices.highest_cost_per_approval * pair.p_approve)
    + prices.price_of_fees * pair.revenue
)
