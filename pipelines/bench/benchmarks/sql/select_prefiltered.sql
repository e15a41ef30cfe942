-- The scored pairs that a prefilter kept, in the order of the plan's rows.

create or replace table pairs as

with kept as (

    select
        leads.channel_id,
        leads.lead_id,
        products.institution_id,
        products.product_id
    from kept_rows
    inner join leads on kept_rows.lead_row = leads.lead_row
    inner join products on kept_rows.product_row = products.product_row

)

select
    every_pair.*,
    row_number() over (
        order by
            every_pair.channel_id,
            every_pair.lead_id,
            every_pair.institution_id,
            every_pair.product_id
    ) - 1 as row
from every_pair
semi join kept using (channel_id, lead_id, institution_id, product_id)
order by row
