-- Outcomes known of earlier matches, beside the probabilities that were predicted for them.
--
-- `known` may have several partial observations of an outcome, each with its weight; they become
-- one row with their weighted label. `$files` are the published matches of the window.

select
    known.channel_id,
    known.lead_id,
    known.institution_id,
    known.product_id,
    known.business_date,
    known.segment,
    known.bureau_score,
    known.amount_to_income,
    known.amount_to_revenue,
    known.product_decisions,
    sum(known.label * known.weight) / sum(known.weight) as label,
    sum(known.weight) as weight,
    earlier.pd,
    earlier.p_approve,
    earlier.p_fund
from known
inner join read_parquet($files, hive_partitioning = true) as earlier
    on
        known.channel_id = earlier.channel_id
        and known.lead_id = earlier.lead_id
        and known.institution_id = earlier.institution_id
        and known.product_id = earlier.product_id
where earlier."date" = known.business_date and known.weight > 0
group by all
order by known.channel_id, known.lead_id, known.institution_id, known.product_id
