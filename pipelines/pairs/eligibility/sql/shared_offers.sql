-- The leads that share the offers of another lead, because they have one phone.
create or replace table shared_offers as
select
    leads.lead_row,
    first_leads.lead_row as first_lead_row
from read_parquet($shared_phones, hive_partitioning = false) as shared_phones
inner join leads using (channel_id, lead_id)
inner join leads as first_leads
    on
        shared_phones.first_channel_id = first_leads.channel_id
        and shared_phones.first_lead_id = first_leads.lead_id
