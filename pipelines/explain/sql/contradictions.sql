select contradiction
from read_parquet($file, hive_partitioning = false)
where channel_id = $channel and lead_id = $lead
order by contradiction
