-- The matches for which something is due since `$day` that was not due before, or no more.

select match_id
from delivered
where "date" = $day
union
select match_id
from attributed_outcomes
where event in ('approved', 'declined', 'funded') and known_on = $day
union
select match_id
from credits
where known_on = $day
order by match_id
