-- The unmatched leads at a stage, of one portion.
select leads.lead_row
from leads
inner join unmatched using (channel_id, lead_id)
where unmatched.stage = $stage and leads.lead_row between $first and $last
order by leads.lead_row
