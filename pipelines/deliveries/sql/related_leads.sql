-- Leads of the person of each lead of `lake_leads`, itself included: by number or phone, or by
-- way of the number that came with its phone; and the leads whose restrictions it obeys as a
-- firm: its owner's, and if it came with several owners the firms of each, as they obey its own.
-- Two different numbers are two persons. `numbered_leads`: the recent leads with their numbers.

create or replace table related_leads as

with matched as (

    select numbered_leads.*
    from numbered_leads
    inner join lake_leads
        on
            numbered_leads.channel_id = lake_leads.channel_id
            and numbered_leads.lead_id = lake_leads.lead_id

),

by_phone as (

    select
        matched.channel_id,
        matched.lead_id,
        other.number_key,
        other.channel_id as related_channel_id,
        other.lead_id as related_lead_id
    from matched
    inner join numbered_leads as other
        on
            matched.phone_key = other.phone_key
            and (
                matched.id_key is null
                or other.id_key is null
                or matched.number_key = other.number_key
            )

),

numbers as (

    select
        channel_id,
        lead_id,
        number_key
    from matched
    union
    select
        channel_id,
        lead_id,
        number_key
    from by_phone

),

of_number as (

    select
        numbers.channel_id,
        numbers.lead_id,
        other.channel_id as related_channel_id,
        other.lead_id as related_lead_id,
        other.owner_id_number_sha256,
        other.joining_owner,
        other.firms_of
    from numbers
    inner join numbered_leads as other on numbers.number_key = other.number_key
    union
    select
        channel_id,
        lead_id,
        channel_id as related_channel_id,
        lead_id as related_lead_id,
        owner_id_number_sha256,
        joining_owner,
        firms_of
    from matched

),

-- the numbers that a firm obeys beside its own
obeyed as (

    select
        channel_id,
        lead_id,
        'firms|' || joining_owner as number_key
    from of_number
    where joining_owner is not null
    union
    select
        of_number.channel_id,
        of_number.lead_id,
        other.number_key
    from of_number
    inner join numbered_leads as other on of_number.firms_of = other.joining_owner
    union
    select
        of_number.channel_id,
        of_number.lead_id,
        other.number_key
    from of_number
    inner join numbered_leads as other on of_number.owner_id_number_sha256 = other.id_key

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
        channel_id,
        lead_id,
        related_channel_id,
        related_lead_id
    from of_number
    union
    select
        obeyed.channel_id,
        obeyed.lead_id,
        other.channel_id as related_channel_id,
        other.lead_id as related_lead_id
    from obeyed
    inner join numbered_leads as other on obeyed.number_key = other.number_key

)

select
    related.channel_id,
    related.lead_id,
    related.related_channel_id,
    related.related_lead_id,
    numbered_leads.id_number_sha256,
    numbered_leads.phone_sha256,
    numbered_leads.owner_id_number_sha256
from related
inner join numbered_leads
    on
        related.related_channel_id = numbered_leads.channel_id
        and related.related_lead_id = numbered_leads.lead_id
