-- Outcomes that count, with the date on which each became known.
select
    *,
    cast(timezone($time_zone, known_at) as date) as stored_on
from outcomes
