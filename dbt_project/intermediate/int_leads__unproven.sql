-- One row per recent lead whose consent text contradicts the register of texts, or is not in it.
-- Without a register nothing is checked.

with leads as (

    select * from {{ ref("int_leads__recent") }}

),

texts as (

    select * from {{ ref("stg_policy__consent_texts") }}

),

compared as (

    select
        leads.channel_id,
        leads.lead_id,
        count(texts.version) as texts,
        coalesce(bool_or(leads.consent_text_sha256 = texts.sha256), false) as is_its_text,
        bool_or(leads.consent_text_sha256 is not null) as is_stated

    from leads
    left join texts
        on
            leads.consent_version = texts.version
            and {{ platform_date("leads.consent_at") }} >= texts.valid_from
            and {{ platform_date("leads.consent_at") }}
            <= coalesce(texts.valid_to, cast('9999-12-31' as date))
    group by leads.channel_id, leads.lead_id

)

select
    channel_id,
    lead_id,
    case when texts = 0 then 'consent_text_unknown' else 'consent_text_contradicts' end as detail

from compared
where
    (select count(*) from texts) > 0
    and (
        (texts = 0 and '{{ var("unknown_consent_version") }}' = 'close')
        or (texts > 0 and is_stated and not is_its_text)
    )
