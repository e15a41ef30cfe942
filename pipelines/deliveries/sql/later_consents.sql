-- What files of later days say about the consent of the leads of `matches`: once per lead.
--
-- A withdrawal on another lead of the person ends every consent that was given until then. The
-- scope of another lead is a consent of its own.

create or replace table later_consents as

with own as (

    select
        later_leads.channel_id,
        later_leads.lead_id,
        later_leads.consent_withdrawn_at is not null as is_withdrawn,
        coalesce(later_leads.consent_scope, []) as scope
    from later_leads
    where
        (later_leads.channel_id, later_leads.lead_id)
        in (select (matches.channel_id, matches.lead_id) from matches)

),

of_person as (

    select
        related_leads.channel_id,
        related_leads.lead_id,
        true as is_withdrawn,
        null as scope
    from related_leads
    inner join later_leads
        on
            related_leads.related_channel_id = later_leads.channel_id
            and related_leads.related_lead_id = later_leads.lead_id
    inner join lake_leads
        on
            related_leads.channel_id = lake_leads.channel_id
            and related_leads.lead_id = lake_leads.lead_id
    where lake_leads.consent_at <= later_leads.consent_withdrawn_at

),

stated as (

    select * from own
    union all
    select * from of_person

)

select
    channel_id,
    lead_id,
    bool_or(is_withdrawn) as is_withdrawn,
    list(scope) filter (where scope is not null) as scopes
from stated
group by channel_id, lead_id
