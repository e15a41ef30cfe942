-- The most striking example of each contradiction and channel: the greatest ratio of what is
-- compared to what is declared. The lead's id is cut.

select
    contradiction,
    channel_id,
    left(lead_id, 3) || '…' as lead_name,
    declared,
    compared,
    currency
from read_parquet($contradictions, hive_partitioning = false)
qualify
    row_number() over (
        partition by contradiction, channel_id
        order by compared / greatest(declared, 1) desc, lead_id asc
    ) = 1
order by contradiction asc, compared / greatest(declared, 1) desc, channel_id asc, lead_id asc
