-- The rows of `recent_leads` with the numbers that connect them: `number_key`, an identity
-- number or the firms of one owner, and `joining_owner`, the owner that a row states of the
-- table `joining_owners`. A registration that came with several of these owners belongs to the
-- firms of none (`firms_of`).

create or replace temp view numbered_leads as

with listed as (

    select
        owner_key,
        unnest(registrations) as registration_key
    from joining_owners

),

owned as (

    select
        registration_key,
        min(owner_key) as owner_key
    from listed
    group by registration_key
    having count(*) = 1

),

typed as (

    select
        *,
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
    from recent_leads

),

joined as (

    select
        typed.*,
        joining_owners.owner_key as joining_owner,
        coalesce(
            owned.owner_key,
            case when typed.registration_key is null then joining_owners.owner_key end
        ) as firms_of
    from typed
    left join joining_owners on typed.owner_key = joining_owners.owner_key
    left join owned on typed.registration_key = owned.registration_key

)

select
    *,
    coalesce('firms|' || firms_of, id_key) as number_key
from joined
