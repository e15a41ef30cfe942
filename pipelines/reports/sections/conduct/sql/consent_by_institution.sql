-- The consents on which the day's matches rest, by institution, the ones named least first.

with counted as (
    select
        matches.institution_id,
        count(*) as rows_matched,
        count(*) filter (
            where list_contains(leads.consent_scope, matches.institution_id)
        ) as named,
        count(distinct leads.consent_version) as versions,
        count(leads.consent_text_sha256) as with_text,
        count(leads.consent_evidence) as with_evidence,
        min(cast(timezone($zone, leads.consent_at) as date)) as oldest
    from day_matches as matches
    inner join day_leads as leads
        on matches.channel_id = leads.channel_id and matches.lead_id = leads.lead_id
    group by matches.institution_id
)

select
    institution_id,
    rows_matched as matches,
    named,
    versions,
    with_text,
    with_evidence,
    cast(oldest as varchar) as oldest
from counted
order by named / rows_matched asc, rows_matched desc, institution_id asc
