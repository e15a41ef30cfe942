-- Products of `catalogue` that may receive leads, numbered by key. Their reference price is the
-- price cap, or the highest price on offer where there is none. A quota above `$max_quota` is one
-- that no day reaches ("no limit"): it counts as that, so that every sum of quotas is exact.
--
-- What a loan of an amount and a number of months costs besides its interest, in any case, is
--     amount * (fee_share + months * monthly_fee_share) + fee_money + months * monthly_fee_money.
-- A loan that is repaid in equal parts owes half of its amount on average, and little at its end.
--
-- Of what the models expect of an institution's matches, the shares that came of earlier ones are
-- `institution_approvals_to_expected` and `institution_fundings_to_expected`; `fees_to_expected` is
-- the share of the expected fees, by the price model. Agreed ceilings are lowered by them.

create or replace table products as

with openable as (

    select
        *,
        if(repayment in ('interest_first', 'bullet'), 1, 0.5) as balance_on_average,
        if(repayment in ('interest_first', 'bullet'), 1, 0) as balance_at_end
    from catalogue
    where reason is null

)

select
    cast(row_number() over (order by institution_id, product_id) - 1 as integer) as product_row,
    * exclude (reason, balance_on_average, balance_at_end)
    replace (least(daily_quota, $max_quota) as daily_quota),
    coalesce(price_cap, max(apr_max) over (partition by segment, currency)) as reference_apr,
    upfront_share + end_share_of_amount + balance_at_end * end_share_of_balance as fee_share,
    period_share_of_amount + balance_on_average * period_share_of_balance as monthly_fee_share,
    upfront_fixed + end_fixed as fee_money,
    period_fixed as monthly_fee_money,
    case price_model
        when 'cpl' then 1
        when 'cpa' then institution_approvals_to_expected
        when 'cps' then institution_fundings_to_expected
    end as fees_to_expected,
    -- agreed ceilings, on the ratio of expected fees to what the models expect
    target_cost_per_funded * exchange_rate
    * least(1, institution_fundings_to_expected / fees_to_expected) as highest_cost_per_funded,
    target_cost_per_approval * exchange_rate
    * least(1, institution_approvals_to_expected / fees_to_expected) as highest_cost_per_approval
from openable
order by product_row
