-- The matches that were sent before `$sent_before` and have no answer on `$day`.

select
    states.match_id,
    states.institution_id,
    states.delivery_id,
    states.version,
    'expired' as event,
    $day as known_on,
    cast(null as timestamptz) as "at",
    'policy' as source,
    'no_receipt' as detail,
    true as counts
from states
where states.state = 'sent' and states.known_on < $sent_before
order by states.match_id
