-- The published reasons of a lead without a match in the person's words, one row for each product.

select
    institution_id,
    product_id,
    string_agg(person_en, '; ' order by strength_rank) as en,
    string_agg(person_zh, '；' order by strength_rank) as zh
from read_parquet($file, hive_partitioning = false)
where
    channel_id = $channel
    and lead_id = $lead
    and person_en is not null
group by institution_id, product_id
order by institution_id, product_id
