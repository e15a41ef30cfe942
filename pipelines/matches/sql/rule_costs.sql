-- What each hard rule costs its own product: the change of the lender's result without the rule.
--
-- Without the rule, its near misses bid for the product's places: with their value after the prices
-- of all other limits, less what their lead would give up for the place. The best bids win under
-- today's quota, over the matches that are there now. The result of a match is the lender's margin
-- less its fee. `$scale` is the number of leads that one sampled lead represents.
with

-- least net value among the matches of a lead that has its most offers, else 0
lead_thresholds as (
    select
        channel_id,
        lead_id,
        case when count(*) >= $max_offers then min(net_value) else 0 end as threshold
    from planned
    group by channel_id, lead_id
),

-- another product of the institution for a lead that loses its place: the best above its price
fallbacks as (
    select
        planned."row",
        max(value_before_quota(pairs, product_prices) - product_prices.price_of_quota) as net_value,
        max_by(
            pairs.institution_margin - pairs.revenue,
            value_before_quota(pairs, product_prices) - product_prices.price_of_quota
        ) as result
    from planned
    inner join pairs
        on
            planned.channel_id = pairs.channel_id
            and planned.lead_id = pairs.lead_id
            and planned.institution_id = pairs.institution_id
            and planned.product_id <> pairs.product_id
    inner join products
        on
            pairs.institution_id = products.institution_id
            and pairs.product_id = products.product_id
    inner join product_prices on products.product_row = product_prices.product_row
    where value_before_quota(pairs, product_prices) > product_prices.price_of_quota
    group by planned."row"
),

near_bids as (
    select
        near.institution_id,
        near.product_id,
        near.step,
        near.attribute,
        product_prices.product_row,
        near.is_worthwhile,
        value_before_quota(near, product_prices)
        - coalesce(rival.net_value, lead_thresholds.threshold, 0) as bid,
        near.institution_margin - near.revenue - coalesce(rival.result, 0) as result
    from valued_near_misses as near
    inner join products using (institution_id, product_id)
    inner join product_prices using (product_row)
    left join planned as rival
        on
            near.channel_id = rival.channel_id
            and near.lead_id = rival.lead_id
            and near.institution_id = rival.institution_id
    left join lead_thresholds
        on near.channel_id = lead_thresholds.channel_id and near.lead_id = lead_thresholds.lead_id
),

rules as (
    select
        institution_id,
        product_id,
        product_row,
        step,
        attribute,
        count(*) * $scale as near_misses
    from near_bids
    group by all
),

bids as (
    select
        product_row,
        step,
        attribute,
        true as is_near,
        bid,
        result,
        cast($scale as double) as places
    from near_bids
    where is_worthwhile and bid > 0
    union all
    select
        rules.product_row,
        rules.step,
        rules.attribute,
        false as is_near,
        planned.value_before_quota - coalesce(fallbacks.net_value, 0) as bid,
        planned.result - coalesce(fallbacks.result, 0) as result,
        1.0 as places
    from rules
    inner join planned on rules.product_row = planned.product_row
    left join fallbacks on planned.row = fallbacks."row"
),

-- of a bid that the last places are too few for, a part wins
won as (
    select
        bids.*,
        greatest(0, least(
            bids.places,
            quotas.quota - sum(bids.places) over (
                partition by bids.product_row, bids.step, bids.attribute
                order by bids.bid desc, bids.is_near asc, bids.result desc
                rows between unbounded preceding and current row
            ) + bids.places
        )) as places_won
    from bids
    inner join product_quotas as quotas on bids.product_row = quotas.product_row
),

totals as (
    select
        product_row,
        step,
        attribute,
        sum(cast(round(places_won * 1000) as hugeint)) filter (where is_near) / 1000.0
            as good_leads,
        sum(
            cast(
                round(
                    case when is_near then places_won else places_won - places end
                    * result * 10000
                ) as hugeint
            )
        ) / 10000.0 as result_gained
    from won
    group by product_row, step, attribute
)

select
    rules.institution_id,
    rules.product_id,
    rules.step,
    rules.attribute,
    rules.near_misses,
    coalesce(totals.good_leads, 0) as good_leads,
    coalesce(totals.result_gained, 0) as value
from rules
left join totals
    on
        rules.product_row = totals.product_row
        and rules.step = totals.step
        and rules.attribute = totals.attribute
order by
    value desc,
    rules.institution_id asc,
    rules.product_id asc,
    rules.step asc,
    rules.attribute asc
