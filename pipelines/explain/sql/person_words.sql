-- The published reasons of a lead in the person's words, one row for each product, strongest first.

select
    institution_id,
    product_id,
    list(effect order by strength_rank) as effects,
    list(person_en order by strength_rank) as en,
    list(person_zh order by strength_rank) as zh
from read_parquet($files, hive_partitioning = false, union_by_name = true)
where
    channel_id = $channel
    and lead_id = $lead
    and person_en is not null
group by institution_id, product_id
order by institution_id, product_id
