-- Leads of the person of each lead of `lake_leads`, itself included: by identity number or phone,
-- or by way of the number that came with its phone. Two different numbers are two persons.

create or replace table related_leads as

with recent as (

    select
        channel_id,
        lead_id,
        id_number_sha256,
        phone_sha256,
        case when is_id_valid then id_number_sha256 end as id_key,
        case when coalesce(is_phone_valid, true) then phone_sha256 end as phone_key
    from recent_leads

),

matched as (

    select recent.*
    from recent
    inner join lake_leads
        on recent.channel_id = lake_leads.channel_id and recent.lead_id = lake_leads.lead_id

),

by_phone as (

    select
        matched.channel_id,
        matched.lead_id,
        recent.id_key,
        recent.channel_id as related_channel_id,
        recent.lead_id as related_lead_id
    from matched
    inner join recent
        on
            matched.phone_key = recent.phone_key
            and coalesce(matched.id_key, recent.id_key, '')
            = coalesce(recent.id_key, matched.id_key, '')

),

ids as (

    select
        channel_id,
        lead_id,
        id_key
    from matched
    union
    select
        channel_id,
        lead_id,
        id_key
    from by_phone

),

related as (

    select
        channel_id,
        lead_id,
        related_channel_id,
        related_lead_id
    from by_phone
    union
    select
        ids.channel_id,
        ids.lead_id,
        recent.channel_id as related_channel_id,
        recent.lead_id as related_lead_id
    from ids
    inner join recent on ids.id_key = recent.id_key
    union
    select
        channel_id,
        lead_id,
        channel_id as related_channel_id,
        lead_id as related_lead_id
    from matched

)

select
    related.channel_id,
    related.lead_id,
    related.related_channel_id,
    related.related_lead_id,
    recent.id_number_sha256,
    recent.phone_sha256
from related
inner join recent
    on
        related.related_channel_id = recent.channel_id
        and related.related_lead_id = recent.lead_id
