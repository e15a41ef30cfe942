-- The owners whose firms are one firm, with the registrations that came with each: by the leads of
-- `owner_leads`. An owner who came with more than `$max_firms` firms connects none.

create or replace temp table joining_owners as

with stated as (

    select
        owner_id_number_sha256 as owner_key,
        case when coalesce(is_id_valid, true) then id_number_sha256 end as registration_key,
        case when coalesce(is_phone_valid, true) then phone_sha256 end as phone_key,
        concat(channel_id, '/', lead_id) as lead_key
    from owner_leads
    where
        $are_one
        and segment = 'business'
        and coalesce(is_owner_id_valid, true)
        and owner_id_number_sha256 <> coalesce(id_number_sha256, '')

)

select
    owner_key,
    list_filter(list(distinct registration_key), lambda name: name is not null) as registrations
from stated
group by owner_key
having count(distinct coalesce(registration_key, phone_key, lead_key)) <= $max_firms
