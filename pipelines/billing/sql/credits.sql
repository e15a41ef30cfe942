-- Why and since when a match is not paid for; `dues.sql` takes the first reason that counts.
-- Tables: `decisions`, `states`.

create or replace temp view credits as

with reasons as (

    select
        match_id,
        event as reason,
        decided_on as known_on
    from decisions
    where decision = 'accepted'
    union all
    select
        match_id,
        state as reason,
        known_on
    from states
    where state in ('retracted', 'refused')

)

select
    match_id,
    reason,
    known_on
from reasons
