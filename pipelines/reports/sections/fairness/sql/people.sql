-- The people of the window, numbered; every n-th if there are too many.

create or replace temp table people as
select
    row_number() over (order by "date", channel_id, lead_id) as person,
    *
from window_leads
where md5_number_lower(channel_id || '/' || lead_id) % $every = 0
