-- Label `charged_off`: how a loan ended, for benchmarks on closed portfolios.
select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    cast(bool_or(event = 'overdue_90') as double) as label,
    min(known_at) as label_known_at
from first_events
where event in ('overdue_90', 'repaid')
group by channel_id, lead_id, institution_id, product_id
