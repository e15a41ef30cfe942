-- Suppression orders against the leads of `lake_leads`, or another lead of the same person: by
-- identity number, phone or lead.

create or replace table suppression_orders as

with subjects as (

    select
        channel_id,
        lead_id,
        'id_number' as subject_type,
        id_number_sha256 as subject
    from related_leads
    union
    select
        channel_id,
        lead_id,
        'id_number' as subject_type,
        owner_id_number_sha256 as subject
    from related_leads
    union
    select
        channel_id,
        lead_id,
        'phone' as subject_type,
        phone_sha256 as subject
    from related_leads
    union
    select
        channel_id,
        lead_id,
        'lead' as subject_type,
        related_channel_id || '/' || related_lead_id as subject
    from related_leads

),

orders as (

    -- a hash may be written in capitals
    select
        subject_type,
        institution_id,
        effective_at,
        unnest(list_distinct([subject, lower(subject)])) as subject
    from suppressions

)

select
    subjects.channel_id,
    subjects.lead_id,
    orders.institution_id,
    orders.effective_at
from subjects
inner join orders
    on subjects.subject_type = orders.subject_type and subjects.subject = orders.subject
