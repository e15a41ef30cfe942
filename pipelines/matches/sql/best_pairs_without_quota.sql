-- The pair of greatest expected value of each lead that found no quota left.
select
    leads.lead_row,
    products.product_row
from pairs
inner join leads using (channel_id, lead_id)
inner join products using (institution_id, product_id)
inner join unmatched using (channel_id, lead_id)
where unmatched.stage = 'quota'
qualify row_number() over (
    partition by leads.lead_row order by pairs.expected_value desc, products.product_row asc
) = 1
