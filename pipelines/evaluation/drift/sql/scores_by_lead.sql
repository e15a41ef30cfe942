-- The scores of each lead: risk is the same at every product, of the others the highest counts.

with pairs as (

    select
        channel_id,
        lead_id,
        max(pd) as pd,
        max(p_approve) as p_approve,
        max(p_fund) as p_fund
    from read_parquet($pairs)
    group by channel_id, lead_id

),

leads as (

    select
        channel_id,
        lead_id,
        industry
    from read_parquet($leads)

)

select
    leads.channel_id,
    leads.industry,
    pairs.pd,
    pairs.p_approve,
    pairs.p_fund
from pairs
inner join leads
    on
        pairs.channel_id = leads.channel_id
        and pairs.lead_id = leads.lead_id
order by leads.channel_id, leads.lead_id
