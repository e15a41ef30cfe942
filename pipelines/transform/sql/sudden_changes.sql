-- Sudden changes of approval rates that hold back outcomes, by institution; the newest date counts.

select
    institution_id,
    count(*) as dates,
    max(known_on) as last_on,
    max_by(compared_with, known_on) as compared_with,
    max_by(earlier_rate, known_on) as earlier_rate,
    max_by(earlier_decisions, known_on) as earlier_decisions,
    max_by(reported_rate, known_on) as reported_rate,
    max_by(reported_decisions, known_on) as reported_decisions
from sudden_changes
group by institution_id
having max(known_on) > cast($day as date) - cast($window_days as integer)
order by institution_id
