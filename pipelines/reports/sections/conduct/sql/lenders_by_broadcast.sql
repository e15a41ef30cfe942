-- The predicted odds of each lender's matches, beside the odds of a broadcast: each lead at random
-- at one of the pairs that it is eligible for (`broadcast`).

with matched as (
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
    broadcast.odds as broadcast_odds,
    greatest(broadcast.square - broadcast.odds ** 2, 0) as variance
from matched
inner join broadcast on matched.institution_id = broadcast.institution_id
order by matched.institution_id
