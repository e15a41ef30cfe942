-- Every eligible pair of a day with its rank among the published matches of its lead, 0 if none.
-- `offers_row` is the lead whose offers the pair counts to: one of the leads of a shared phone.

with matches as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        "rank"
    from read_parquet($matches, hive_partitioning = false)

),

published as (

    select
        leads.lead_row,
        products.product_row,
        matches."rank"
    from matches
    inner join leads
        on
            matches.channel_id = leads.channel_id
            and matches.lead_id = leads.lead_id
    inner join products
        on
            matches.institution_id = products.institution_id
            and matches.product_id = products.product_id

)

select
    eligible.lead_row,
    coalesce(shared_offers.first_lead_row, eligible.lead_row) as offers_row,
    eligible.product_row,
    coalesce(published."rank", 0) as "rank"
from eligible
left join published
    on
        eligible.lead_row = published.lead_row
        and eligible.product_row = published.product_row
left join shared_offers on eligible.lead_row = shared_offers.lead_row
order by eligible.lead_row, eligible.product_row
