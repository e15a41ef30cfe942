-- The present fact of each match of a date: planned, held, sent or retracted, with its version.
-- Tables: `matches`, `version_rows` (one row per match and version of a lead file), `deliveries`
-- (one row per institution with a folder), `withdrawn` (matches that a held delivery retracts).

with newest as (

    select
        institution_id,
        max(version) as version,
        max(version) filter (where transport = 'sent') as sent_version
    from version_rows
    group by institution_id

),

sent as (

    select *
    from version_rows
    where transport = 'sent'
    qualify row_number() over (partition by match_id order by version desc) = 1

),

pending as (

    select version_rows.*
    from version_rows
    inner join newest
        on
            version_rows.institution_id = newest.institution_id
            and version_rows.version = newest.version
    where version_rows.transport <> 'sent'

),

every_match as (

    select
        coalesce(matches.match_id, sent.match_id) as match_id,
        coalesce(matches.institution_id, sent.institution_id) as institution_id,
        matches.match_id is not null as is_planned,
        sent.version as sent_version,
        sent.known_on as sent_known_on,
        sent."at" as sent_at
    from matches
    full join sent on matches.match_id = sent.match_id

),

judged as (

    select
        every_match.match_id,
        every_match.institution_id,
        every_match.is_planned,
        newest.sent_version as newest_sent,
        every_match.sent_version,
        every_match.sent_known_on,
        every_match.sent_at,
        deliveries.state as delivery_state,
        deliveries.delivery_id,
        deliveries.known_on as delivery_known_on,
        pending.transport as pending_transport,
        case
            when every_match.sent_version is not null
                then case
                    when
                        every_match.sent_version < newest.sent_version
                        or withdrawn.match_id is not null
                        then 'retracted'
                    else 'sent'
                end
            when pending.transport = 'waiting' or deliveries.institution_id is null then 'planned'
            else 'held'
        end as event
    from every_match
    left join newest on every_match.institution_id = newest.institution_id
    left join deliveries on every_match.institution_id = deliveries.institution_id
    left join pending on every_match.match_id = pending.match_id
    left join withdrawn on every_match.match_id = withdrawn.match_id

)

select
    match_id,
    institution_id,
    is_planned,
    coalesce(delivery_id, strftime($day, '%Y%m%d') || '-' || institution_id) as delivery_id,
    event,
    case event
        when 'sent' then sent_version
        when 'retracted' then newest_sent
        else 0
    end as version,
    case event
        when 'sent' then sent_known_on
        when 'retracted' then delivery_known_on
        when 'held' then delivery_known_on
        else $day
    end as known_on,
    case event when 'sent' then sent_at end as "at",
    case event
        when 'sent' then 'outbox'
        when 'planned' then 'matches'
        else 'outbox'
    end as source,
    case
        when event = 'held' and pending_transport = 'dead_letter' then 'dead_letter'
        when event = 'planned' and pending_transport = 'waiting' then 'waiting'
        when event = 'retracted' and delivery_state = 'held' then 'delivery_held'
    end as detail
from judged
order by match_id
