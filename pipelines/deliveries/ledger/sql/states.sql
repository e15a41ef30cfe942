-- One row per match of the deliveries of a date: its state, which is its last event that counts.

create or replace temp view states as

with ordered as (

    select
        *,
        list_position(
            [
                'planned', 'held', 'sent', 'expired', 'received', 'refused', 'retracted',
                'returned'
            ],
            event
        ) as stage
    from events
    where counts

)

select
    match_id,
    institution_id,
    delivery_id,
    event as state,
    version,
    known_on,
    "at",
    detail
from ordered
qualify
    row_number() over (
        partition by match_id
        order by batch desc, stage desc, version desc, known_on desc, source desc, detail desc
    ) = 1
