-- The leads of the table `subject_leads`, with whether the lake has a number or a phone of theirs.

select
    subject_leads.person,
    subject_leads.channel_id,
    subject_leads.lead_id,
    subject_leads.lead_on,
    bool_or(leads.id_number_sha256 is not null or leads.phone_sha256 is not null) as is_hashed
from subject_leads
inner join leads
    on
        subject_leads.channel_id = leads.channel_id
        and subject_leads.lead_id = leads.lead_id
group by all
order by
    subject_leads.person,
    subject_leads.lead_on,
    subject_leads.channel_id,
    subject_leads.lead_id
