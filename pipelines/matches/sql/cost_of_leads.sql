-- What the channels are paid for all leads of the day; leads of a channel of unknown cost cost 0.
-- In whole ten-thousandths, so that the sum does not depend on its order.
select coalesce(sum(cast(round(channel_costs.cost_per_lead * 10000) as hugeint)), 0) / 10000.0
from mart_leads
inner join channel_costs using (channel_id)
