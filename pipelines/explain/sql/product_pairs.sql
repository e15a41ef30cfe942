-- Scored pairs of a product, with the shadow price of its quota and the rank of a match.

select
    scored.*,
    coalesce(prices.price_of_quota, 0) as price_of_quota,
    matches.rank
from scored
left join prices using (institution_id, product_id)
left join matches using (channel_id, lead_id, institution_id, product_id)
where institution_id = $institution and product_id = $product
