-- The scored pairs of positive expected value, with the rows of their lead and product.

select
    leads.lead_row,
    products.product_row,
    pairs.expected_value,
    pairs.revenue,
    pairs.person_benefit,
    pairs.institution_margin
from read_parquet($pairs, hive_partitioning = false) as pairs
inner join leads on pairs.channel_id = leads.channel_id and pairs.lead_id = leads.lead_id
inner join products
    on pairs.institution_id = products.institution_id and pairs.product_id = products.product_id
where pairs.expected_value > 0
order by leads.lead_row, products.product_row
