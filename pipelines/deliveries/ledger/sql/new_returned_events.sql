-- The accepted returns that the ledger does not have; a match is returned once.

select
    candidates.match_id,
    candidates.institution_id,
    candidates.delivery_id,
    coalesce(states.version, 0) as version,
    'returned' as event,
    candidates.known_on,
    cast(null as timestamptz) as "at",
    'return_decisions' as source,
    candidates.detail,
    true as counts
from candidates
left join states on candidates.match_id = states.match_id
where states.state is distinct from 'returned'
order by candidates.match_id
