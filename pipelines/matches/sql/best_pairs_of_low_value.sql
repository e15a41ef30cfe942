-- The pair of greatest expected value of each lead whose pairs all had too low a value or odds.
select
    leads.lead_row,
    products.product_row
from scored_pairs
inner join leads using (channel_id, lead_id)
inner join products using (institution_id, product_id)
inner join unmatched using (channel_id, lead_id)
where unmatched.stage = 'low_value'
qualify row_number() over (
    partition by leads.lead_row order by scored_pairs.expected_value desc, products.product_row asc
) = 1
