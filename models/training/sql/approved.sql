-- Label `approved`: the institution's latest decision. Corrections count from when they are known.
select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    cast(event = 'approved' as double) as label,
    known_at as label_known_at
from events
where event in ('approved', 'declined')
qualify
    row_number() over (
        partition by channel_id, lead_id, institution_id, product_id
        order by recorded_at desc, event_at desc, event asc
    ) = 1
