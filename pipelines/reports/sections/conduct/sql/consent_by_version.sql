-- The day's leads and matches by version of consent, by the text that came with it, and by whether
-- the register has that text for that day.

with leads as (
    select
        leads.*,
        cast(timezone($zone, leads.consent_at) as date) as given_on
    from day_leads as leads
),

texts as (
    select
        leads.channel_id,
        leads.lead_id,
        count(consent_texts.version) as texts,
        coalesce(
            bool_or(consent_texts.sha256 = lower(leads.consent_text_sha256)), false
        ) as is_known
    from leads
    left join consent_texts
        on
            leads.consent_version = consent_texts.version
            and leads.given_on >= consent_texts.valid_from
            and leads.given_on <= consent_texts.valid_to
    group by leads.channel_id, leads.lead_id
),

matched as (
    select distinct
        channel_id,
        lead_id
    from day_matches
)

select
    leads.consent_version,
    coalesce(left(lower(leads.consent_text_sha256), 12), '') as text_hash,
    case
        when (select count(*) from consent_texts) = 0 then 'no_register'
        when bool_and(texts.is_known) then 'registered'
        when max(texts.texts) = 0 then 'unknown_version'
        when leads.consent_text_sha256 is null then 'not_stated'
        else 'contradicts'
    end as state,
    count(*) as leads,
    count(matched.lead_id) as matched,
    count(*) filter (where not list_contains(leads.consent_scope, $every_institution)) as named,
    count(*) filter (where leads.consent_withdrawn_at is not null) as withdrawn,
    count(leads.consent_evidence) as with_evidence,
    cast(min(leads.given_on) as varchar) as oldest
from leads
inner join texts on leads.channel_id = texts.channel_id and leads.lead_id = texts.lead_id
left join matched on leads.channel_id = matched.channel_id and leads.lead_id = matched.lead_id
group by leads.consent_version, leads.consent_text_sha256
order by count(*) desc, leads.consent_version asc, text_hash asc
