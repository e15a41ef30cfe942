-- One row per channel and business date at which its history is needed: the dates of leads in
-- scope, and the business date itself for every channel that ever sent a lead or reported spend.

select
    channel_id,
    business_date
from {{ ref("int_leads__in_scope") }}

union distinct

select
    channel_id,
    {{ run_day() }} as business_date
from {{ ref("int_channel_lead_counts") }}

union distinct

select
    channel_id,
    {{ run_day() }} as business_date
from {{ ref("int_channel_spend_changes") }}
