-- The offers of a lead in the person's words: amounts, whole cost, each fee, what counted most.

select
    institution_id,
    product_id,
    words as en,
    words_zh as zh
from read_parquet($file, hive_partitioning = false)
where
    channel_id = $channel
    and lead_id = $lead
order by rank
