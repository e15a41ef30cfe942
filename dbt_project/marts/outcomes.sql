-- One row per outcome that is linked to a lead, known before the end of the business date.

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
    currency,
    reason

from {{ ref("int_outcomes__linked") }}
where unlinked_reason is null
