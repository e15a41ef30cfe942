-- First and last lead of the matches, in portions of about `$portion` matches: the matches of a
-- lead stay together.
with

leads_of_matches as (
    select
        lead_row,
        sum(count(*)) over (order by lead_row) - count(*) as matches_before
    from chosen
    group by lead_row
)

select
    min(lead_row) as first_row,
    max(lead_row) as last_row
from leads_of_matches
group by floor(matches_before / $portion)
order by first_row
