-- Scored pairs of a lead.

select *
from scored
where channel_id = $channel and lead_id = $lead
