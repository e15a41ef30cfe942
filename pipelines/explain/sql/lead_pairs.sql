-- Scored pairs of a lead, with the shadow price of each product's quota.

select
    scored.*,
    coalesce(prices.price_of_quota, 0) as price_of_quota
from scored
left join prices using (institution_id, product_id)
where channel_id = $channel and lead_id = $lead
