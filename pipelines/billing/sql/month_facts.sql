-- The facts of a month by match, each once: `$first` to `$last` are its dates.
-- Tables: `billable`, `attributed_outcomes`, `decisions` (on returns and disputes), `states`.

with approvals as (

    select
        match_id,
        min(known_on) as known_on
    from attributed_outcomes
    where event in ('approved', 'funded')
    group by match_id

),

fundings as (

    select
        match_id,
        min(known_on) as known_on
    from attributed_outcomes
    where event = 'funded'
    group by match_id

),

disputes as (

    select
        match_id,
        min(known_on) as known_on
    from decisions
    where event = 'disputed'
    group by match_id

),

facts as (

    select
        match_id,
        'delivered' as fact,
        delivered_on as known_on
    from billable
    union all
    select
        billable.match_id,
        'received' as fact,
        billable.delivered_on as known_on
    from billable
    semi join received on billable.match_id = received.match_id
    union all
    select distinct
        match_id,
        'returned' as fact,
        decided_on as known_on
    from decisions
    where decision = 'accepted'
    union all
    select
        match_id,
        'disputed' as fact,
        known_on
    from disputes
    union all
    select
        match_id,
        'approved' as fact,
        known_on
    from approvals
    union all
    select
        match_id,
        'funded' as fact,
        known_on
    from fundings

)

select
    match_id,
    fact
from facts
where known_on between $first and $last
order by match_id, fact
