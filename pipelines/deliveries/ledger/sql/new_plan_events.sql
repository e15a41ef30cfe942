-- The events of plan and outbox that the ledger does not have: `candidates` has the present fact of
-- each match (planned, held, sent or retracted, with its version), `events` what is recorded.

with plan_events as (

    select
        match_id,
        event,
        version,
        batch,
        list_position(['planned', 'held', 'sent', 'retracted'], event) as stage
    from events
    where event in ('planned', 'held', 'sent', 'retracted')

),

latest as (

    select
        match_id,
        event,
        version
    from plan_events
    qualify row_number() over (partition by match_id order by batch desc, stage desc) = 1

),

known as (

    select distinct match_id from plan_events

),

final_states as (

    select match_id
    from states
    where state = 'returned'

),

-- a match that was only planned and is in no plan any more
dropped as (

    select
        states.match_id,
        states.institution_id,
        states.delivery_id,
        0 as version,
        'retracted' as event,
        'not_planned' as detail
    from states
    anti join candidates on states.match_id = candidates.match_id
    where states.state in ('planned', 'held')

),

planned as (

    select
        candidates.match_id,
        candidates.institution_id,
        candidates.delivery_id,
        0 as version,
        'planned' as event,
        cast(null as varchar) as detail
    from candidates
    anti join known on candidates.match_id = known.match_id
    where candidates.is_planned and candidates.event <> 'planned'

),

changed as (

    select
        candidates.match_id,
        candidates.institution_id,
        candidates.delivery_id,
        candidates.version,
        candidates.event,
        candidates.detail
    from candidates
    left join latest on candidates.match_id = latest.match_id
    where
        latest.match_id is null
        or latest.event <> candidates.event
        or latest.version <> candidates.version

),

fresh as (

    select * from planned
    union all by name
    select * from changed
    union all by name
    select * from dropped

)

select
    fresh.match_id,
    fresh.institution_id,
    fresh.delivery_id,
    fresh.version,
    fresh.event,
    coalesce(facts.known_on, $day) as known_on,
    facts."at",
    coalesce(facts.source, 'matches') as source,
    fresh.detail,
    final_states.match_id is null as counts
from fresh
left join candidates as facts on fresh.match_id = facts.match_id
left join final_states on fresh.match_id = final_states.match_id
order by fresh.match_id, fresh.event
