-- One row per person and person whose restrictions it obeys: itself; where it isn't known who used
-- a phone without an identity number, everyone who may have; a firm that came with several owners
-- and the other firms of each.
--
-- A firm also obeys the restrictions of its owner as a borrower, under each policy on the firms of
-- one owner. It shares no offers with the owner, and the owner doesn't obey the firm's.

with persons as (

    select * from {{ ref("int_persons") }}

),

phones as (

    select distinct
        person_key,
        phone_key,
        id_key is not null as has_id
    from persons

),

owned as (

    select distinct
        person_key,
        owner_id_number_sha256,
        owner_firms_key
    from persons
    where owner_id_number_sha256 is not null

),

borrowers as (

    select distinct
        person_key,
        id_key
    from persons
    where id_key is not null

),

links as (

    select
        person_key,
        person_key as linked_person_key,
        true as shares_offers
    from phones
    union all
    select
        one.person_key,
        other.person_key as linked_person_key,
        true as shares_offers

    from phones as one
    inner join phones as other
        on one.phone_key = other.phone_key and one.has_id <> other.has_id
    union all
    select
        person_key,
        owner_firms_key as linked_person_key,
        true as shares_offers
    from owned
    where owner_firms_key is not null
    union all
    select
        owner_firms_key as person_key,
        person_key as linked_person_key,
        true as shares_offers
    from owned
    where owner_firms_key is not null
    union all
    select
        owned.person_key,
        borrowers.person_key as linked_person_key,
        false as shares_offers

    from owned
    inner join borrowers
        on owned.owner_id_number_sha256 = borrowers.id_key

)

select
    person_key,
    linked_person_key,
    bool_or(shares_offers) as shares_offers

from links
group by person_key, linked_person_key
