-- Leads whose pd is above the band of a product that they were otherwise eligible for, or (with
-- `$is_above` false) below the bands of all of them.
with

outside as (
    select eligible_pairs.lead_row
    from eligible_pairs
    inner join leads using (lead_row)
    inner join products using (product_row)
    group by eligible_pairs.lead_row
    having bool_or(coalesce(products.pd_max, 1) < leads.pd) = $is_above
)

select
    leads.*,
    cast(null as varchar) as institution_id,
    cast(null as varchar) as product_id
from leads
inner join outside using (lead_row)
order by leads.lead_row
