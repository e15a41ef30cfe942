-- One training pair for each lead with a reported outcome, and the truth of its default.

with truth as (
    select
        channel_id,
        lead_id,
        any_value(p_default) as p_default
    from read_parquet($shown, hive_partitioning = false)
    group by channel_id, lead_id
)

select
    pairs.*,
    truth.p_default
from read_parquet($pairs, hive_partitioning = false) as pairs
inner join truth using (channel_id, lead_id)
where pairs.business_date >= $since
qualify
    row_number() over (
        partition by pairs.channel_id, pairs.lead_id
        order by pairs.institution_id, pairs.product_id
    ) = 1
order by pairs.channel_id, pairs.lead_id
