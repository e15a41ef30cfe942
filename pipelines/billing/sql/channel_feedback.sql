-- The news of `$day` by channel and lead; no row names an institution.
-- Tables: `matches`, `unmatched` (of the day), `attributed_outcomes`, `decisions`, `dues_now` and
-- `dues_before` (what was owed until the day before).

with matched as (

    select
        channel_id,
        lead_id,
        'matched' as event,
        cast(count(*) as varchar) as detail,
        cast(null as decimal(18, 2)) as amount,
        cast(null as varchar) as currency
    from matches
    group by channel_id, lead_id

),

fell_out as (

    select
        channel_id,
        lead_id,
        'fell_out' as event,
        stage as detail,
        cast(null as decimal(18, 2)) as amount,
        cast(null as varchar) as currency
    from unmatched

),

progress as (

    select
        channel_id,
        lead_id,
        event,
        cast(null as varchar) as detail,
        cast(null as decimal(18, 2)) as amount,
        cast(null as varchar) as currency
    from attributed_outcomes
    where event in ('approved', 'funded')
    group by channel_id, lead_id, event
    having min(known_on) = $day

),

returned as (

    select distinct
        channel_id,
        lead_id,
        'returned' as event,
        reason as detail,
        cast(null as decimal(18, 2)) as amount,
        cast(null as varchar) as currency
    from decisions
    where decision = 'accepted' and decided_on = $day

),

owed as (

    select
        channel_id,
        lead_id,
        currency,
        charge + credit as amount
    from dues_now
    union all
    select
        channel_id,
        lead_id,
        currency,
        -(charge + credit) as amount
    from dues_before

),

earned as (

    select
        channel_id,
        lead_id,
        'earned' as event,
        cast(null as varchar) as detail,
        cast(sum(amount) as decimal(18, 2)) as amount,
        currency
    from owed
    group by channel_id, lead_id, currency
    having sum(amount) <> 0

),

news as (

    select * from matched
    union all by name
    select * from fell_out
    union all by name
    select * from progress
    union all by name
    select * from returned
    union all by name
    select * from earned

)

select
    channel_id,
    lead_id,
    event,
    detail,
    amount,
    currency
from news
-- a channel knows nothing of the random id that has taken the place of an erased person's lead
where not starts_with(lead_id, 'erased-')
order by channel_id, lead_id, event, detail, currency
