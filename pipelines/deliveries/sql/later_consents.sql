-- What files of later days say about the consent of the leads of `matches`: once per lead.

create or replace table later_consents as

select
    channel_id,
    lead_id,
    bool_or(consent_withdrawn_at is not null) as is_withdrawn,
    list(coalesce(consent_scope, [])) as scopes
from later_leads
where (channel_id, lead_id) in (select (matches.channel_id, matches.lead_id) from matches)
group by channel_id, lead_id
