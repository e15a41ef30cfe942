-- Loans to businesses that are funded and not repaid, by `$by` (chain or sector) and currency.

with loans as (

    select
        case $by when 'chain' then supply_chain_code else industry end as group_name,
        currency,
        channel_id || '/' || lead_id as lead_name,
        institution_id,
        amount,
        is_overdue
    from read_parquet($book, hive_partitioning = false)

)

select
    group_name,
    currency,
    count(distinct lead_name) as leads,
    count(*) as loans,
    count(distinct institution_id) as institutions,
    coalesce(sum(amount), 0) as lent,
    coalesce(sum(amount) filter (is_overdue), 0) as overdue
from loans
where group_name is not null
group by group_name, currency
order by lent desc, group_name asc, currency asc
