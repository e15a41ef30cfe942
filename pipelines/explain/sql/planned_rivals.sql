-- Pairs that the plan chose for the leads that were scored at a product.

with product_leads as (

    select
        channel_id,
        lead_id
    from scored
    where institution_id = $institution and product_id = $product

)

select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    scored.expected_value,
    scored.net_value
from scored
semi join product_leads using (channel_id, lead_id)
where scored.is_planned
