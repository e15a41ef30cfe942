-- Every recent lead of the person of each lead of `gate.leads`, itself included, and the leads
-- whose restrictions it obeys as a firm.
--
-- A person's leads share a number: an identity number, or the one of the owner whose firms are
-- one. A phone connects two leads unless both have a number and the numbers differ. A lead
-- without a number has the numbers that came with its phone. A firm obeys the leads of its
-- owner, and if it came with several owners the firms of each, as they obey its own.

create or replace table gate.persons as

with typed as (

    select
        channel_id,
        lead_id,
        id_number_sha256,
        phone_sha256,
        owner_id_number_sha256,
        consent_withdrawn_at,
        case when is_id_valid then id_number_sha256 end as id_key,
        case when coalesce(is_id_valid, true) then id_number_sha256 end as registration_key,
        case when coalesce(is_phone_valid, true) then phone_sha256 end as phone_key,
        case
            when
                segment = 'business'
                and coalesce(is_owner_id_valid, true)
                and owner_id_number_sha256 <> coalesce(id_number_sha256, '')
                then owner_id_number_sha256
        end as owner_key
    from gate.recent_leads

),

owned as (

    select
        typed.*,
        joining_owners.owner_key as joining_owner,
        coalesce(
            owned_firms.owner_key,
            case when typed.registration_key is null then joining_owners.owner_key end
        ) as firms_of
    from typed
    left join gate.joining_owners
        on joining_owners.judged_on = $as_of and typed.owner_key = joining_owners.owner_key
    left join gate.owned_firms
        on
            owned_firms.judged_on = $as_of
            and typed.registration_key = owned_firms.registration_key

),

recent as (

    select
        *,
        coalesce('firms|' || firms_of, id_key) as number_key
    from owned

),

claimed as (

    select recent.*
    from recent
    semi join gate.leads
        on recent.channel_id = leads.channel_id and recent.lead_id = leads.lead_id

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
        number_key
    from claimed
    where number_key is not null
    union
    select
        claimed.channel_id,
        claimed.lead_id,
        recent.number_key
    from claimed
    inner join recent on claimed.phone_key = recent.phone_key
    anti join shared_numbers on recent.id_key = shared_numbers.id_key
    where recent.number_key is not null and (claimed.id_key is null or recent.id_key is null)

),

of_number as (

    select
        numbers.channel_id,
        numbers.lead_id,
        recent.channel_id as other_channel_id,
        recent.lead_id as other_lead_id,
        recent.owner_id_number_sha256,
        recent.joining_owner,
        recent.firms_of
    from numbers
    inner join recent on numbers.number_key = recent.number_key
    union
    select
        channel_id,
        lead_id,
        channel_id as other_channel_id,
        lead_id as other_lead_id,
        owner_id_number_sha256,
        joining_owner,
        firms_of
    from claimed

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
        recent.number_key
    from of_number
    inner join recent on of_number.firms_of = recent.joining_owner
    union
    select
        of_number.channel_id,
        of_number.lead_id,
        recent.number_key
    from of_number
    inner join recent on of_number.owner_id_number_sha256 = recent.id_key

),

connected as (

    select
        channel_id,
        lead_id,
        other_channel_id,
        other_lead_id
    from of_number
    union
    select
        claimed.channel_id,
        claimed.lead_id,
        recent.channel_id as other_channel_id,
        recent.lead_id as other_lead_id
    from claimed
    inner join recent on claimed.phone_key = recent.phone_key
    where
        claimed.id_key is null
        or recent.id_key is null
        or claimed.number_key = recent.number_key
    union
    select
        obeyed.channel_id,
        obeyed.lead_id,
        recent.channel_id as other_channel_id,
        recent.lead_id as other_lead_id
    from obeyed
    inner join recent on obeyed.number_key = recent.number_key

)

select
    connected.channel_id,
    connected.lead_id,
    connected.other_channel_id,
    connected.other_lead_id,
    recent.id_number_sha256,
    recent.phone_sha256,
    recent.owner_id_number_sha256,
    recent.consent_withdrawn_at
from connected
inner join recent
    on
        connected.other_channel_id = recent.channel_id
        and connected.other_lead_id = recent.lead_id
