-- Today's matched businesses by `$by` (chain or sector) and currency: what is expected to be lent
-- to them, and to default, now and if the buyer of the chain fails. Decimals are added, so that the
-- order of addition does not matter.
--
-- A failed buyer adds 2 ln 3 times the share of sales that hangs on it to the log-odds of default:
-- the odds triple for half of the buyers (Arata 2018, RIETI Discussion Paper 18-E-040).

with matched as (

    select
        case $by when 'chain' then leads.supply_chain_code else leads.industry end as group_name,
        leads.currency,
        leads.channel_id || '/' || leads.lead_id as lead_name,
        matches.institution_id,
        matches.pd,
        matches.p_approve * matches.p_fund * leads.matched_amount as lent,
        1 / (
            1 + (1 - matches.pd) / matches.pd
            * exp(-2 * ln(3) * coalesce(leads.supply_largest_buyer_share, 0))
        ) as stressed_pd

    from read_parquet($matches, hive_partitioning = false) as matches
    inner join read_parquet($leads, hive_partitioning = false) as leads
        on matches.channel_id = leads.channel_id and matches.lead_id = leads.lead_id
    where leads.segment = 'business'

)

select
    group_name,
    currency,
    count(distinct lead_name) as leads,
    count(*) as matches,
    count(distinct institution_id) as institutions,
    cast(sum(cast(lent as decimal(28, 6))) as double) as lent,
    cast(sum(cast(lent * pd as decimal(28, 6))) as double) as defaulted,
    cast(sum(cast(lent * stressed_pd as decimal(28, 6))) as double) as defaulted_if_buyer_fails

from matched
where group_name is not null
group by group_name, currency
order by lent desc, group_name asc, currency asc
