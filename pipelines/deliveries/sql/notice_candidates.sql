-- Create `leads`, the rows of `lake_leads` that an order or a withdrawal can reach, among few
-- others, and `delivered`, what was delivered of them.
--
-- Most persons of two years ask for nothing. So one scan keeps the hashes of all keys alone.
-- From the rows that an order or withdrawal names it goes by phone, by number, by the owner of a
-- firm and by phone again, as far as withdrawal_notices.sql goes. A second scan keeps these
-- rows. Two keys with one hash only add a row.
--
-- Tables: `lake_leads`, `lake_delivered`, `suppressions` and `kinds`, see
-- withdrawal_notices.sql.

create or replace temp table ordered as

select distinct
    suppressions.subject_type,
    unnest([suppressions.subject, lower(suppressions.subject)]) as subject
from suppressions
inner join kinds on suppressions.reason = kinds.reason;

create or replace temp table lead_keys as

select
    case when is_id_valid then hash(id_number_sha256) end as id_key,
    case when coalesce(is_phone_valid, true) then hash(phone_sha256) end as phone_key,
    case
        when owner_id_number_sha256 is not null then hash(owner_id_number_sha256)
    end as owner_key,
    consent_withdrawn_at is not null
    or id_number_sha256 in (
        select ordered.subject from ordered
        where ordered.subject_type = 'id_number'
    )
    or owner_id_number_sha256 in (
        select ordered.subject from ordered
        where ordered.subject_type = 'id_number'
    )
    or phone_sha256 in (
        select ordered.subject from ordered
        where ordered.subject_type = 'phone'
    )
    or channel_id || '/' || lead_id in (
        select ordered.subject from ordered
        where ordered.subject_type = 'lead'
    )
        as is_hit
from lake_leads;

create or replace temp table reached as

with first_phones as (

    select distinct phone_key as reached_key
    from lead_keys
    where is_hit and phone_key is not null

),

first_ids as (

    select distinct id_key as reached_key
    from lead_keys
    where
        (is_hit or phone_key in (select first_phones.reached_key from first_phones))
        and id_key is not null

),

-- the owner of a firm, and a person as the owner of firms
owners as (

    select reached_key from first_ids
    union
    select owner_key as reached_key
    from lead_keys
    where
        owner_key is not null
        and (
            is_hit
            or phone_key in (select first_phones.reached_key from first_phones)
            or id_key in (select first_ids.reached_key from first_ids)
        )

),

ids as (

    select reached_key from owners
    union
    select id_key as reached_key
    from lead_keys
    where id_key is not null and owner_key in (select owners.reached_key from owners)

)

select reached_key from first_phones
union
select reached_key from ids
union
select phone_key as reached_key
from lead_keys
where
    phone_key is not null
    and (
        id_key in (select ids.reached_key from ids)
        or owner_key in (select owners.reached_key from owners)
    )
union
select hash(subject) as reached_key
from ordered
where subject_type <> 'lead';

create or replace temp table leads as

select
    channel_id,
    lead_id,
    "date",
    currency,
    consent_at,
    consent_withdrawn_at,
    id_number_sha256,
    phone_sha256,
    is_id_valid,
    is_phone_valid,
    segment,
    owner_id_number_sha256,
    is_owner_id_valid
from lake_leads
where
    consent_withdrawn_at is not null
    or hash(phone_sha256) in (select reached.reached_key from reached)
    or hash(id_number_sha256) in (select reached.reached_key from reached)
    or (
        owner_id_number_sha256 is not null
        and hash(owner_id_number_sha256) in (select reached.reached_key from reached)
    )
    or channel_id || '/' || lead_id in (
        select ordered.subject from ordered
        where ordered.subject_type = 'lead'
    );

create or replace temp table delivered as

select
    match_id,
    institution_id,
    channel_id,
    lead_id,
    "date"
from lake_delivered
where (channel_id, lead_id) in (select (channel_id, lead_id) from leads)
