-- The predicted odds of each lender's matches, beside the odds of a broadcast: each lead at random
-- at one of the pairs that it is eligible for.

with weighted as (
    select
        institution_id,
        cast(p_approve as decimal(18, 9)) as p_approve,
        cast(1.0 / count(*) over (partition by channel_id, lead_id) as decimal(18, 9)) as weight
    from day_pairs
),

broadcast as (
    select
        institution_id,
        count(*) as pairs,
        sum(weight) as weight,
        sum(weight * p_approve) / sum(weight) as odds,
        sum(weight * cast(p_approve * p_approve as decimal(18, 9))) / sum(weight) as square
    from weighted
    group by institution_id
),

matched as (
    select
        institution_id,
        count(*) as matches,
        sum(cast(p_approve as decimal(18, 9))) / count(*) as odds
    from day_matches
    group by institution_id
)

select
    matched.institution_id,
    matched.matches,
    broadcast.pairs,
    cast(matched.odds as double) as odds,
    cast(broadcast.odds as double) as broadcast_odds,
    greatest(
        cast(broadcast.square as double) - cast(broadcast.odds as double) ** 2, 0
    ) as variance
from matched
inner join broadcast on matched.institution_id = broadcast.institution_id
order by matched.institution_id
