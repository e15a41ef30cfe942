-- One row per person and person whose restrictions it obeys: itself; and where it isn't known who
-- used a phone without an identity number, everyone who may have.

with persons as (

    select distinct
        person_key,
        phone_key,
        id_key is not null as has_id
    from {{ ref("int_persons") }}

),

links as (

    select
        person_key,
        person_key as linked_person_key
    from persons
    union
    select
        one.person_key,
        other.person_key as linked_person_key

    from persons as one
    inner join persons as other
        on one.phone_key = other.phone_key and one.has_id <> other.has_id

)

select * from links
