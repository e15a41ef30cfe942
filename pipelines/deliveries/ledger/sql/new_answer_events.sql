-- The answers (received, refused) that the ledger does not have, for each match of the version
-- that was answered. `candidates` has one row per answer. An answer counts if it is about the
-- version that the match has now.

with answered as (

    select distinct
        sent.match_id,
        sent.institution_id,
        sent.delivery_id,
        sent.version,
        candidates.event,
        candidates.known_on,
        candidates."at",
        candidates.source,
        candidates.detail
    from candidates
    inner join events as sent
        on
            candidates.institution_id = sent.institution_id
            and candidates.version = sent.version
            and sent.event = 'sent'

)

select
    answered.*,
    coalesce(
        states.state in ('sent', 'expired', 'received', 'refused')
        and states.version = answered.version, false
    ) as counts
from answered
left join states on answered.match_id = states.match_id
anti join events
    on
        answered.match_id = events.match_id
        and answered.event = events.event
        and answered.version = events.version
        and answered.source = events.source
order by answered.match_id, answered.version, answered.event
