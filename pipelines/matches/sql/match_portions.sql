-- First and last lead of the matches, in portions of about `$portion` matches; the matches of a lead
-- stay together.
with

leads_of_matches as (
    select
        lead_row,
        sum(count(*)) over (order by lead_row) - count(*) as before
    from chosen
    group by lead_row
)

select
    min(lead_row) as first,
    max(lead_row) as last
from leads_of_matches
group by floor(before / $portion)
order by first
