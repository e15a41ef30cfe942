-- The published estimates of each pair of `market_pairs`, in its order; null without a score.
select
    scored.p_approve,
    scored.p_fund,
    scored.pd,
    scored.suggested_apr,
    scored.amount
from market_pairs
left join read_parquet($pairs, hive_partitioning = false) as scored
    using (channel_id, lead_id, institution_id, product_id)
order by market_pairs.pair_row
