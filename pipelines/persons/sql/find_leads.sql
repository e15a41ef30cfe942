-- The leads of each person that is asked for, of all time; and whether the identifier names
-- several persons.
--
-- Tables: `asked` (person, kind, subject: a keyed hash, or CHANNEL/LEAD), `leads` (the lake,
-- with `lead_on`). A person is one identity number with the phones that came with it alone, or
-- one phone without any number, or one lead without either (expectations/policy/identity.yml). A
-- number that came with more than `$max_phones` phones names nobody. The leads of a firm are its
-- owner's as well, for they have the owner's number, unless it came with more than `$max_firms`
-- firms.

with keyed as (

    select
        channel_id,
        lead_id,
        lead_on,
        id_number_sha256,
        phone_sha256,
        owner_id_number_sha256,
        case when coalesce(is_id_valid, true) then id_number_sha256 end as id_key,
        case when coalesce(is_phone_valid, true) then phone_sha256 end as phone_key
    from leads

),

phones_of_ids as (

    select distinct
        id_key,
        phone_key
    from keyed
    where id_key is not null and phone_key is not null

),

crowded_ids as (

    select id_key
    from phones_of_ids
    group by id_key
    having count(*) > $max_phones

),

crowded_owners as (

    select owner_id_number_sha256 as id_key
    from keyed
    where owner_id_number_sha256 <> coalesce(id_number_sha256, '')
    group by owner_id_number_sha256
    having count(distinct coalesce(id_key, phone_key, channel_id || '/' || lead_id)) > $max_firms

),

ids_of_phones as (

    select
        phone_key,
        min(id_key) as id_key,
        count(*) as ids
    from phones_of_ids
    group by phone_key

),

named as (

    select
        asked.person,
        asked.kind,
        keyed.*
    from asked
    inner join keyed on asked.kind = 'id_number' and asked.subject = keyed.id_number_sha256
    union all
    select
        asked.person,
        asked.kind,
        keyed.*
    from asked
    inner join keyed on asked.kind = 'phone' and asked.subject = keyed.phone_sha256
    union all
    select
        asked.person,
        asked.kind,
        keyed.*
    from asked
    inner join keyed
        on asked.kind = 'lead' and asked.subject = keyed.channel_id || '/' || keyed.lead_id

),

-- a lead without a number belongs to the only number that came with its phone
ids as (

    select
        named.person,
        named.kind,
        named.id_key
    from named
    where named.id_key is not null
    union
    select
        named.person,
        named.kind,
        ids_of_phones.id_key
    from named
    inner join ids_of_phones on named.phone_key = ids_of_phones.phone_key
    where named.id_key is null and ids_of_phones.ids = 1

),

ambiguous as (

    select person
    from ids
    group by person
    having count(*) > 1
    union
    select ids.person
    from ids
    inner join crowded_ids on ids.id_key = crowded_ids.id_key
    where ids.kind = 'id_number'
    union
    select asked.person
    from asked
    inner join crowded_owners
        on asked.kind = 'id_number' and asked.subject = crowded_owners.id_key

),

own_ids as (

    select
        ids.person,
        ids.id_key
    from ids
    anti join crowded_ids on ids.id_key = crowded_ids.id_key

),

-- the numbers by which a person is the owner of firms
owner_ids as (

    select
        own_ids.person,
        own_ids.id_key
    from own_ids
    anti join crowded_owners on own_ids.id_key = crowded_owners.id_key
    union
    select
        person,
        subject as id_key
    from asked
    where kind = 'id_number'

),

own_phones as (

    select
        own_ids.person,
        ids_of_phones.phone_key
    from own_ids
    inner join ids_of_phones on own_ids.id_key = ids_of_phones.id_key
    where ids_of_phones.ids = 1
    union
    select
        named.person,
        named.phone_key
    from named
    anti join ids_of_phones on named.phone_key = ids_of_phones.phone_key
    where named.id_key is null and named.phone_key is not null

),

found as (

    select
        person,
        channel_id,
        lead_id,
        lead_on
    from named
    union
    select
        own_ids.person,
        keyed.channel_id,
        keyed.lead_id,
        keyed.lead_on
    from own_ids
    inner join keyed on own_ids.id_key = keyed.id_key
    union
    select
        own_phones.person,
        keyed.channel_id,
        keyed.lead_id,
        keyed.lead_on
    from own_phones
    inner join keyed on own_phones.phone_key = keyed.phone_key
    where keyed.id_key is null
    union
    select
        owner_ids.person,
        keyed.channel_id,
        keyed.lead_id,
        keyed.lead_on
    from owner_ids
    inner join keyed on owner_ids.id_key = keyed.owner_id_number_sha256

)

select
    found.person,
    found.channel_id,
    found.lead_id,
    found.lead_on,
    ambiguous.person is not null as is_ambiguous
from found
left join ambiguous on found.person = ambiguous.person
order by found.person, found.lead_on, found.channel_id, found.lead_id
