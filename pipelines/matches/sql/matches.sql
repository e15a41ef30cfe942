-- The published matches. The risk tier is the first one whose upper limit lies above the pd.
select
    explained.match_id,
    explained.channel_id,
    explained.lead_id,
    explained.institution_id,
    explained.product_id,
    explained.segment,
    explained.rank,
    explained.pd,
    risk_tiers.tier as risk_tier,
    explained.suggested_apr,
    explained.p_approve,
    explained.p_fund,
    explained.expected_value,
    explained.expected_cost,
    explained.price_of_quota,
    explained.reasons,
    explained.explored,
    explained.propensity,
    $policy_version as policy_version,
    $models as models
from explained
asof left join risk_tiers on explained.pd < risk_tiers.pd_below
order by explained.channel_id, explained.lead_id, explained.rank
