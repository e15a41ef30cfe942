-- One row per lead of the last weeks that may concern a person of the business date, with its
-- person.
--
-- A person is one identity number with its phones, or one phone without an identity number, or one
-- lead without either. A lead without an identity number belongs to the only identity number that
-- came with its phone. So persons never form longer chains, and two identity numbers stay two
-- persons: a phone that came with several (a family's) belongs to none of them, and its leads
-- without an identity number are a person of their own (`int_persons__links`).
--
-- The firms of one owner are one such person, if the policy says so: the registrations that came
-- with one owner's number only, which came with no more firms than an owner has, and the business
-- leads with it that state no registration. The owner as a borrower is another person.

{% set owner_days = var("owner_window_days") | int %}
{% set window = (var("same_person_days") | int) + 1 %}
{% set days = [
    window * (var("same_person_windows") | int), var("earlier_offer_days") | int, owner_days
] | max %}
{% set max_phones = var("max_phones_per_person") | int %}
{% set max_firms = var("max_firms_per_owner") | int %}

with sent_leads as (

    select
        channel_id,
        lead_id,
        business_date,
        person_key as own_key,
        id_number_sha256,
        phone_sha256,
        consent_withdrawn_at,
        is_id_valid is null and id_number_sha256 is not null as is_id_unchecked,
        case when coalesce(is_id_valid, true) then id_number_sha256 end as id_key,
        case when is_phone_valid then phone_sha256 end as phone_key,
        owner_id_number_sha256,
        case
            when
                segment = 'business'
                and coalesce(is_owner_id_valid, true)
                and owner_id_number_sha256 <> coalesce(id_number_sha256, '')
                then owner_id_number_sha256
        end as owner_key

    from {{ ref("stg_lake__leads") }}
    where business_date >= {{ add_days(run_day(), - days) }}

),

-- a number of no stated type that comes from more contacts than a person has is no identity number
no_identity_numbers as (

    select id_key
    from sent_leads
    where is_id_unchecked
    group by id_key
    having count(distinct coalesce(phone_key, own_key)) > {{ max_phones }}

),

typed_leads as (

    select
        sent_leads.channel_id,
        sent_leads.lead_id,
        sent_leads.business_date,
        sent_leads.own_key,
        sent_leads.id_number_sha256,
        sent_leads.phone_sha256,
        sent_leads.consent_withdrawn_at,
        sent_leads.phone_key,
        sent_leads.owner_id_number_sha256,
        sent_leads.owner_key,
        case when no_identity_numbers.id_key is null then sent_leads.id_key end as id_key

    from sent_leads
    left join no_identity_numbers
        on sent_leads.is_id_unchecked and sent_leads.id_key = no_identity_numbers.id_key

),

owners as (

    select
        owner_key,
        count(distinct coalesce(id_key, phone_key, own_key)) > {{ max_firms }} as is_crowded
    from typed_leads
    where
        owner_key is not null
        and '{{ var("firms_of_one_owner") }}' = 'one'
        and business_date >= {{ add_days(run_day(), - owner_days) }}
    group by owner_key

),

-- a registration that came with several owners belongs to none of them
owned_ids as (

    select
        typed_leads.id_key,
        min(typed_leads.owner_key) as owner_key
    from typed_leads
    inner join owners
        on typed_leads.owner_key = owners.owner_key
    where
        typed_leads.id_key is not null
        and typed_leads.business_date >= {{ add_days(run_day(), - owner_days) }}
        and not owners.is_crowded
    group by typed_leads.id_key
    having count(distinct typed_leads.owner_key) = 1

),

leads as (

    select
        typed_leads.channel_id,
        typed_leads.lead_id,
        typed_leads.business_date,
        typed_leads.own_key,
        typed_leads.id_number_sha256,
        typed_leads.phone_sha256,
        typed_leads.owner_id_number_sha256,
        typed_leads.consent_withdrawn_at,
        typed_leads.id_key,
        typed_leads.phone_key,
        case when not owners.is_crowded then owners.owner_key end as owner_key,
        coalesce(owners.is_crowded, false) as is_owner_crowded,
        case
            when typed_leads.id_key is null and not owners.is_crowded then owners.owner_key
            else owned_ids.owner_key
        end as firms_of

    from typed_leads
    left join owners
        on typed_leads.owner_key = owners.owner_key
    left join owned_ids
        on typed_leads.id_key = owned_ids.id_key

),

numbered_leads as (

    select
        *,
        case when owner_key is not null then {{ firms_key("owner_key") }} end as owner_firms_key,
        case
            when firms_of is not null then {{ firms_key("firms_of") }} else id_key
        end as number_key

    from leads

),

phones_of_the_day as (

    select distinct phone_key
    from numbered_leads
    where business_date = {{ run_day() }} and phone_key is not null

),

ids_of_the_day as (

    select id_key
    from numbered_leads
    where
        id_key is not null
        and (
            business_date = {{ run_day() }}
            or phone_key in (select phones_of_the_day.phone_key from phones_of_the_day)
        )
    group by id_key

),

owners_of_the_day as (

    select owner_id_number_sha256 as id_key
    from numbered_leads
    where
        owner_id_number_sha256 is not null
        and (
            business_date = {{ run_day() }}
            or phone_key in (select phones_of_the_day.phone_key from phones_of_the_day)
            or id_key in (select ids_of_the_day.id_key from ids_of_the_day)
        )
    group by owner_id_number_sha256

),

-- the owner's own leads, and the other firms of the owner
ids as (

    select id_key from ids_of_the_day
    union
    select id_key from owners_of_the_day
    union
    select id_key
    from numbered_leads
    where
        id_key is not null
        and owner_key in (select owners_of_the_day.id_key from owners_of_the_day)

),

phones as (

    select phone_key from phones_of_the_day
    union
    select phone_key
    from numbered_leads
    where
        phone_key is not null
        and (
            id_key in (select ids.id_key from ids)
            or owner_key in (select owners_of_the_day.id_key from owners_of_the_day)
        )

),

leads_nearby as (

    select *
    from numbered_leads
    where
        business_date = {{ run_day() }}
        or id_key in (select ids.id_key from ids)
        or owner_key in (select owners_of_the_day.id_key from owners_of_the_day)
        or phone_key in (select phones.phone_key from phones)

),

phones_of_ids as (

    select
        id_key,
        phone_key
    from leads_nearby
    where id_key is not null and phone_key is not null
    group by id_key, phone_key

),

crowded_ids as (

    select id_key
    from phones_of_ids
    group by id_key
    having count(*) > {{ max_phones }}

),

-- the phones of a crowded number connect nobody to it
owned_phones as (

    select
        leads_nearby.phone_key,
        min(leads_nearby.number_key) as number_key
    from leads_nearby
    left join crowded_ids
        on leads_nearby.id_key = crowded_ids.id_key
    where leads_nearby.phone_key is not null and leads_nearby.number_key is not null
    group by leads_nearby.phone_key
    having
        count(distinct leads_nearby.number_key) = 1
        and count(crowded_ids.id_key) = 0

),

persons as (

    select
        leads_nearby.channel_id,
        leads_nearby.lead_id,
        leads_nearby.business_date,
        coalesce(
            leads_nearby.number_key,
            owned_phones.number_key,
            leads_nearby.phone_key,
            leads_nearby.own_key
        ) as person_key,
        leads_nearby.id_key,
        leads_nearby.phone_key,
        leads_nearby.id_number_sha256,
        leads_nearby.phone_sha256,
        leads_nearby.owner_id_number_sha256,
        leads_nearby.owner_firms_key,
        leads_nearby.consent_withdrawn_at,
        crowded_ids.id_key is not null as is_crowded,
        leads_nearby.is_owner_crowded

    from leads_nearby
    left join owned_phones
        on leads_nearby.phone_key = owned_phones.phone_key
    left join crowded_ids
        on leads_nearby.id_key = crowded_ids.id_key

)

select * from persons
