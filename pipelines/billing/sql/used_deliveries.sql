-- The deliveries of which the institution reported a lead as approved or funded by `$day`, so that
-- it has read them. Table: `attributed_outcomes`.

select distinct
    institution_id,
    delivered_on
from attributed_outcomes
where event in ('approved', 'funded') and known_on <= $day
order by institution_id, delivered_on
