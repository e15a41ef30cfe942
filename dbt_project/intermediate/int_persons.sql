-- One row per lead of the last weeks that may concern a person of the business date, with its
-- person.
--
-- A person is one identity number with its phones, or one phone without an identity number, or one
-- lead without either. A lead without an identity number belongs to the only identity number that
-- came with its phone. So persons never form longer chains, and two identity numbers stay two
-- persons: a phone that came with several (a family's) belongs to none of them, and its leads
-- without an identity number are a person of their own (`int_persons__links`).

{% set window = (var("same_person_days") | int) + 1 %}
{% set days = [
    window * (var("same_person_windows") | int), var("earlier_offer_days") | int
] | max %}
{% set max_phones = var("max_phones_per_person") | int %}

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
        case when is_phone_valid then phone_sha256 end as phone_key

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

leads as (

    select
        sent_leads.channel_id,
        sent_leads.lead_id,
        sent_leads.business_date,
        sent_leads.own_key,
        sent_leads.id_number_sha256,
        sent_leads.phone_sha256,
        sent_leads.consent_withdrawn_at,
        sent_leads.phone_key,
        case when no_identity_numbers.id_key is null then sent_leads.id_key end as id_key

    from sent_leads
    left join no_identity_numbers
        on sent_leads.is_id_unchecked and sent_leads.id_key = no_identity_numbers.id_key

),

phones_of_the_day as (

    select distinct phone_key
    from leads
    where business_date = {{ run_day() }} and phone_key is not null

),

ids as (

    select id_key
    from leads
    where
        id_key is not null
        and (
            business_date = {{ run_day() }}
            or phone_key in (select phones_of_the_day.phone_key from phones_of_the_day)
        )
    group by id_key

),

phones as (

    select phone_key from phones_of_the_day
    union
    select phone_key
    from leads
    where phone_key is not null and id_key in (select ids.id_key from ids)

),

leads_nearby as (

    select *
    from leads
    where
        business_date = {{ run_day() }}
        or id_key in (select ids.id_key from ids)
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

owned_phones as (

    select
        phone_key,
        min(id_key) as id_key
    from phones_of_ids
    group by phone_key
    having count(*) = 1

),

persons as (

    select
        leads_nearby.channel_id,
        leads_nearby.lead_id,
        leads_nearby.business_date,
        coalesce(
            leads_nearby.id_key,
            case when crowded_owners.id_key is null then owned_phones.id_key end,
            leads_nearby.phone_key,
            leads_nearby.own_key
        ) as person_key,
        leads_nearby.id_key,
        leads_nearby.phone_key,
        leads_nearby.id_number_sha256,
        leads_nearby.phone_sha256,
        leads_nearby.consent_withdrawn_at,
        crowded_ids.id_key is not null as is_crowded

    from leads_nearby
    left join owned_phones
        on leads_nearby.phone_key = owned_phones.phone_key
    left join crowded_ids as crowded_owners
        on owned_phones.id_key = crowded_owners.id_key
    left join crowded_ids
        on leads_nearby.id_key = crowded_ids.id_key

)

select * from persons
