-- One row per outcome that does not count, and why: its institution did not receive the match, or
-- its values are impossible or unconfirmed. The report shows it.

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
