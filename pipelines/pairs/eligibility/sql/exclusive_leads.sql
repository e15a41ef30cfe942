-- Leads that are exclusive to `$institution`: the person had a match with it within `$days`.

select distinct leads.lead_row
from earlier_offers
inner join leads
    on
        earlier_offers.channel_id = leads.channel_id
        and earlier_offers.lead_id = leads.lead_id
where
    earlier_offers.institution_id = $institution
    and earlier_offers.offered_on + cast($days as int) > cast($day as date)
order by all
