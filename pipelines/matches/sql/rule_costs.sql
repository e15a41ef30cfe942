-- Cost of each hard rule: the gain of the leads that it alone excludes, at the prices of the plan.
-- `$scale` is the number of leads that one sampled lead represents.
with

planned_surplus as (
    select
        channel_id,
        lead_id,
        institution_id,
        expected_value - price_of_quota - price_of_budget * expected_spend as surplus
    from planned
),

-- least surplus among the matches of a lead that has its most offers, else 0
lead_thresholds as (
    select
        channel_id,
        lead_id,
        case when count(*) >= $max_offers then min(surplus) else 0 end as min_surplus
    from planned_surplus
    group by channel_id, lead_id
),

gains as (
    select
        near.institution_id,
        near.product_id,
        near.step,
        near.attribute,
        near.is_worthwhile,
        near.expected_value - product_prices.price_of_quota
        - product_prices.price_of_budget * near.expected_spend
        - coalesce(rival.surplus, lead_thresholds.min_surplus, 0) as gain
    from valued_near_misses as near
    inner join products using (institution_id, product_id)
    inner join product_prices using (product_row)
    left join planned_surplus as rival using (channel_id, lead_id, institution_id)
    left join lead_thresholds using (channel_id, lead_id)
)

select
    institution_id,
    product_id,
    step,
    attribute,
    count(*) * $scale as near_misses,
    count(*) filter (where is_worthwhile and gain > 0) * $scale as good_leads,
    coalesce(sum(cast(round(gain * 10000) as hugeint)) filter (
        where is_worthwhile and gain > 0
    ), 0) / 10000.0 * $scale as value
from gains
group by institution_id, product_id, step, attribute
order by value desc, institution_id asc, product_id asc, step asc, attribute asc
