-- Sudden changes of approval rates, with the date on which each became known.
select
    *,
    known_on as stored_on
from sudden_changes
