-- The unmatched leads at a stage.
select leads.lead_row
from leads
inner join unmatched using (channel_id, lead_id)
where unmatched.stage = $stage
order by leads.lead_row
