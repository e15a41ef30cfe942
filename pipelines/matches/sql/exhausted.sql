-- Leads with a pair that the remaining budget, share of a group or guarantee can't take.
create or replace table exhausted as
with

exhausted_rows as (
    select
        row,
        'budget' as detail
    from budget_exhausted_rows
    union all
    select
        row,
        'share_full' as detail
    from share_exhausted_rows
    union all
    select
        row,
        'guarantee' as detail
    from guarantee_exhausted_rows
)

select
    pairs.channel_id,
    pairs.lead_id,
    min(exhausted_rows.detail) as detail
from pairs
inner join exhausted_rows using (row)
group by pairs.channel_id, pairs.lead_id
