-- Every recent lead of the person of each lead of `gate.leads`, itself included.
--
-- A person's leads share an identity number. A phone connects two leads unless both have a number
-- and the numbers differ. A lead without a number has the numbers that came with its phone.

create or replace table gate.persons as

with recent as (

    select
        channel_id,
        lead_id,
        id_number_sha256,
        phone_sha256,
        consent_withdrawn_at,
        case when is_id_valid then id_number_sha256 end as id_key,
        case when coalesce(is_phone_valid, true) then phone_sha256 end as phone_key
    from gate.recent_leads

),

-- a number that came with too many phones is nobody's, so no phone leads to it
shared_numbers as (

    select id_key
    from recent
    where id_key is not null
    group by id_key
    having count(distinct phone_key) > $max_phones

),

numbers as (

    select
        channel_id,
        lead_id,
        id_key
    from gate.leads
    where id_key is not null
    union
    select
        leads.channel_id,
        leads.lead_id,
        recent.id_key
    from gate.leads
    inner join recent on leads.phone_key = recent.phone_key
    anti join shared_numbers on recent.id_key = shared_numbers.id_key
    where leads.id_key is null and recent.id_key is not null

),

connected as (

    select
        numbers.channel_id,
        numbers.lead_id,
        recent.channel_id as other_channel_id,
        recent.lead_id as other_lead_id
    from numbers
    inner join recent on numbers.id_key = recent.id_key
    union
    select
        leads.channel_id,
        leads.lead_id,
        recent.channel_id as other_channel_id,
        recent.lead_id as other_lead_id
    from gate.leads
    inner join recent on leads.phone_key = recent.phone_key
    where leads.id_key is null or recent.id_key is null or leads.id_key = recent.id_key
    union
    select
        channel_id,
        lead_id,
        channel_id as other_channel_id,
        lead_id as other_lead_id
    from gate.leads

)

select
    connected.channel_id,
    connected.lead_id,
    connected.other_channel_id,
    connected.other_lead_id,
    recent.id_number_sha256,
    recent.phone_sha256,
    recent.consent_withdrawn_at
from connected
inner join recent
    on
        connected.other_channel_id = recent.channel_id
        and connected.other_lead_id = recent.lead_id
