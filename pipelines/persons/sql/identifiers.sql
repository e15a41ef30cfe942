-- Every value that names the persons of `subject_leads`, as the lake has it, one row a value.
-- Table `leads`: the lake. `is_own` is false where another lead has the value as well (a family's
-- phone, a common name): such a value names somebody else, too.

with own as (

    select leads.*
    from leads
    semi join subject_leads
        on
            leads.channel_id = subject_leads.channel_id
            and leads.lead_id = subject_leads.lead_id

),

others as (

    select leads.*
    from leads
    anti join subject_leads
        on
            leads.channel_id = subject_leads.channel_id
            and leads.lead_id = subject_leads.lead_id

),

own_values as (

    unpivot (
        select
            cast(lead_id as varchar) as lead_id,
            cast(id_number as varchar) as id_number,
            cast(owner_id_number as varchar) as owner_id_number,
            cast(phone as varchar) as phone,
            cast(full_name as varchar) as full_name,
            cast(business_name as varchar) as business_name,
            cast(device_id as varchar) as device_id,
            cast(id_number_sha256 as varchar) as id_number_sha256,
            cast(owner_id_number_sha256 as varchar) as owner_id_number_sha256,
            cast(phone_sha256 as varchar) as phone_sha256,
            cast(person_key as varchar) as person_key
        from own
    )
    on columns(*) into name kind value value

),

other_values as (

    unpivot (
        select
            cast(lead_id as varchar) as lead_id,
            cast(id_number as varchar) as id_number,
            cast(owner_id_number as varchar) as owner_id_number,
            cast(phone as varchar) as phone,
            cast(full_name as varchar) as full_name,
            cast(business_name as varchar) as business_name,
            cast(device_id as varchar) as device_id,
            cast(id_number_sha256 as varchar) as id_number_sha256,
            cast(owner_id_number_sha256 as varchar) as owner_id_number_sha256,
            cast(phone_sha256 as varchar) as phone_sha256,
            cast(person_key as varchar) as person_key
        from others
    )
    on columns(*) into name kind value value

),

-- an owner's number may be the number of another lead
shared as (

    select distinct
        own_values.kind,
        own_values.value
    from own_values
    semi join other_values
        on
            replace(own_values.kind, 'owner_', '') = replace(other_values.kind, 'owner_', '')
            and own_values.value = other_values.value

)

select distinct
    own_values.kind,
    own_values.value,
    shared.value is null as is_own
from own_values
left join shared on own_values.kind = shared.kind and own_values.value = shared.value
order by own_values.kind, own_values.value
