-- Scored pairs of a product, with the rank of a match.

select
    scored.*,
    matches.rank
from scored
left join matches using (channel_id, lead_id, institution_id, product_id)
where institution_id = $institution and product_id = $product
