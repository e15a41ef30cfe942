-- The leads that the claimed matches name, as the lake has them, with every statement of their
-- consent since: `scopes` are the scopes of all their copies.

create or replace table gate.leads as

with claimed as (

    select distinct
        channel_id,
        lead_id
    from gate.claims

),

copies as (

    select
        statements.channel_id,
        statements.lead_id,
        list(coalesce(statements.consent_scope, [])) as scopes,
        bool_or(statements.consent_withdrawn_at is not null) as is_withdrawn
    from gate.statements
    semi join claimed
        on
            statements.channel_id = claimed.channel_id
            and statements.lead_id = claimed.lead_id
    group by statements.channel_id, statements.lead_id

)

select
    day_leads.channel_id,
    day_leads.lead_id,
    day_leads.full_name,
    day_leads.id_number,
    day_leads.owner_id_number,
    day_leads.phone,
    day_leads.birth_date,
    day_leads.business_name,
    day_leads.region,
    day_leads.segment,
    regexp_replace(lower(trim(coalesce(day_leads.consent_by_role, ''))), '[\s-]+', '_', 'g')
        as consent_by_role,
    day_leads.amount,
    day_leads.term_months,
    day_leads.consent_at,
    day_leads.consent_version,
    lower(day_leads.consent_text_sha256) as consent_text_sha256,
    copies.scopes,
    coalesce(copies.is_withdrawn, false) as is_withdrawn,
    case when day_leads.is_id_valid then day_leads.id_number_sha256 end as id_key,
    case
        when coalesce(day_leads.is_phone_valid, true) then day_leads.phone_sha256
    end as phone_key,
    coalesce(
        owned_firms.owner_key,
        case
            when day_leads.id_number_sha256 is null or not coalesce(day_leads.is_id_valid, true)
                then joining_owners.owner_key
        end
    ) as firms_of
from gate.day_leads
left join gate.owned_firms
    on
        owned_firms.judged_on = $day
        and coalesce(day_leads.is_id_valid, true)
        and day_leads.id_number_sha256 = owned_firms.registration_key
left join gate.joining_owners
    on
        joining_owners.judged_on = $day
        and day_leads.segment = 'business'
        and coalesce(day_leads.is_owner_id_valid, true)
        and day_leads.owner_id_number_sha256 = joining_owners.owner_key
semi join claimed
    on day_leads.channel_id = claimed.channel_id and day_leads.lead_id = claimed.lead_id
left join copies
    on day_leads.channel_id = copies.channel_id and day_leads.lead_id = copies.lead_id
