-- The subjects by which an order may name the person of each lead of `gate.leads`.

create or replace table gate.subjects as

select
    channel_id,
    lead_id,
    'id_number' as subject_type,
    id_number_sha256 as subject
from gate.persons
where id_number_sha256 is not null
union
select
    channel_id,
    lead_id,
    'id_number' as subject_type,
    owner_id_number_sha256 as subject
from gate.persons
where owner_id_number_sha256 is not null
union
select
    channel_id,
    lead_id,
    'phone' as subject_type,
    phone_sha256 as subject
from gate.persons
where phone_sha256 is not null
union
select
    channel_id,
    lead_id,
    'lead' as subject_type,
    other_channel_id || '/' || other_lead_id as subject
from gate.persons
