-- Leads that have, with the leads of the same phone, more than `$max_offers` matches, or two
-- matches with one institution.
with offers as (
    select
        coalesce(shared_offers.first_lead_row, chosen.lead_row) as offers_row,
        chosen.institution_id
    from chosen
    left join shared_offers on chosen.lead_row = shared_offers.lead_row
)

select offers_row
from offers
group by offers_row
having count(*) > $max_offers or count(*) > count(distinct institution_id)
