-- The first time of each event of a pair, and when it was first known.
create view first_events as
select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    event,
    min(event_at) as event_at,
    min(known_at) as known_at
from events
group by channel_id, lead_id, institution_id, product_id, event
