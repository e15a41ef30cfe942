-- The owners whose firms are one firm, with the registrations that came with each, as known on
-- `$day` and on `$as_of`: by the leads of `gate.owner_leads`. An owner who came with more than
-- `$max_firms` firms connects none.

create or replace table gate.joining_owners as

with dates as (

    select unnest(list_distinct([cast($day as date), cast($as_of as date)])) as judged_on

),

stated as (

    select
        dates.judged_on,
        owner_leads.owner_id_number_sha256 as owner_key,
        case
            when coalesce(owner_leads.is_id_valid, true) then owner_leads.id_number_sha256
        end as registration_key,
        case
            when coalesce(owner_leads.is_phone_valid, true) then owner_leads.phone_sha256
        end as phone_key,
        concat(owner_leads.channel_id, '/', owner_leads.lead_id) as lead_key
    from gate.owner_leads
    inner join dates on owner_leads.known_on <= dates.judged_on
    where
        $are_one
        and owner_leads.segment = 'business'
        and coalesce(owner_leads.is_owner_id_valid, true)
        and owner_leads.owner_id_number_sha256 <> coalesce(owner_leads.id_number_sha256, '')

)

select
    judged_on,
    owner_key,
    list_filter(list(distinct registration_key), lambda name: name is not null) as registrations
from stated
group by judged_on, owner_key
having count(distinct coalesce(registration_key, phone_key, lead_key)) <= $max_firms
