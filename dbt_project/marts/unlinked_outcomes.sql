-- One row per outcome that names no lead or match that we know, and why. It counts nowhere, and the
-- report shows it.

select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    event,
    event_at,
    recorded_at,
    known_at,
    amount,
    apr,
    reason,
    unlinked_reason

from {{ ref("int_outcomes__linked") }}
where unlinked_reason is not null
