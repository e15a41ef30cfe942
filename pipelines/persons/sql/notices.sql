-- The notices of an erasure: one row per match that an institution received. `subject_matches` has
-- the matches with their tokens, `subject_leads` the leads with theirs, `leads` the lake.

select
    subject_matches.match_id,
    subject_matches.institution_id,
    subject_matches.channel_id,
    subject_leads.token as lead_id,
    strftime(subject_matches.matched_on, '%Y%m%d')
    || '-' || subject_matches.institution_id as delivery_id,
    'erasure' as kind,
    $effective_on as effective_on,
    min(leads.currency) as currency
from subject_matches
inner join subject_leads
    on
        subject_matches.channel_id = subject_leads.channel_id
        and subject_matches.lead_id = subject_leads.lead_id
left join leads
    on
        subject_matches.channel_id = leads.channel_id
        and subject_matches.lead_id = leads.lead_id
where subject_matches.is_delivered
group by all
order by subject_matches.institution_id, subject_matches.match_id
