-- Pairs that contact frequency excludes: the person had a match with the product within `$days`.

select
    leads.lead_row,
    products.product_row
from earlier_offers
inner join leads
    on
        earlier_offers.channel_id = leads.channel_id
        and earlier_offers.lead_id = leads.lead_id
inner join products
    on
        earlier_offers.institution_id = products.institution_id
        and earlier_offers.product_id = products.product_id
where earlier_offers.offered_on + cast($days as int) > cast($day as date)
order by all
