-- Why a lead of `gate.leads` must not go to an institution (null: to none): by an order against
-- any lead of its person, or by a withdrawal on another one of them after its consent was given.

create or replace table gate.objections as

with spellings as (

    select
        subject_type,
        reason,
        institution_id,
        unnest(list_distinct([subject, lower(subject)])) as subject
    from gate.orders
    where effective_at < $known_end

)

select distinct
    subjects.channel_id,
    subjects.lead_id,
    spellings.institution_id,
    case spellings.reason
        when 'erasure' then 'erased'
        when 'consent_withdrawn' then 'consent_withdrawn'
        else 'suppressed'
    end as kind
from gate.subjects
inner join spellings
    on subjects.subject_type = spellings.subject_type and subjects.subject = spellings.subject
union
select distinct
    persons.channel_id,
    persons.lead_id,
    cast(null as varchar) as institution_id,
    'consent_withdrawn' as kind
from gate.persons
inner join gate.leads
    on persons.channel_id = leads.channel_id and persons.lead_id = leads.lead_id
where leads.consent_at <= persons.consent_withdrawn_at
