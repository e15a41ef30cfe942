-- One row per lead that may be matched and has the phone of an earlier such lead of the business
-- date: two persons with one phone, who share the offers of one.

with leads as (

    select * from {{ ref("leads") }}
    where exclusion_stage is null

),

persons as (

    select * from {{ ref("int_persons") }}

),

numbered as (

    select
        leads.channel_id,
        leads.lead_id,
        first_value(leads.channel_id) over (
            partition by persons.phone_key
            order by leads.captured_at, leads.channel_id, leads.lead_id
        ) as first_channel_id,
        first_value(leads.lead_id) over (
            partition by persons.phone_key
            order by leads.captured_at, leads.channel_id, leads.lead_id
        ) as first_lead_id

    from leads
    inner join persons
        on leads.channel_id = persons.channel_id and leads.lead_id = persons.lead_id
    where persons.phone_key is not null

)

select
    channel_id,
    lead_id,
    first_channel_id,
    first_lead_id

from numbered
where channel_id <> first_channel_id or lead_id <> first_lead_id
