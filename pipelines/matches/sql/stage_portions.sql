-- First and last row of the unmatched leads at a stage, in portions of `$portion` leads.
with

numbered as (
    select
        leads.lead_row,
        row_number() over (order by leads.lead_row) as number
    from leads
    inner join unmatched using (channel_id, lead_id)
    where unmatched.stage = $stage
)

select
    min(lead_row) as first_row,
    max(lead_row) as last_row
from numbered
group by floor((number - 1) / $portion)
order by first_row, last_row
