{{ config(materialized="view") }}
-- One row per lead as its channel sent it. Names, identity numbers, dates of birth and protected
-- attributes stay in the lake: no table of the warehouse holds them, so none can use them.

with source as (

    select * from {{ source("lake", "leads") }}

),

renamed as (

    select
        -- keys
        channel_id,
        lead_id,
        "date" as business_date,

        -- times
        captured_at,
        known_at,

        coalesce(campaign_id, '') as campaign_id,

        -- the person, as hashes
        segment,
        person_key,
        id_number_sha256,
        phone_sha256,
        device_id,
        is_id_valid,
        is_phone_valid,
        owner_id_number_sha256,
        is_owner_id_valid,

        -- consent
        consent_scope,
        consent_at,
        consent_withdrawn_at,
        consent_version,
        lower(consent_text_sha256) as consent_text_sha256,
        coalesce({{ snake_case("consent_by_role") }}, '') as consent_by_role,

        -- of a business
        established_on,

        -- what models and product rules may use; money in `currency`
        {{ sent_attributes() | join(",\n        ") }}

    from source
    where "date" <= {{ run_day() }}

),

with_currency as (

    select * replace ({{ stated_currency() }} as currency)
    from renamed

)

-- `amount` is what the lead asked for; `matched_amount` is that, or what is assumed without it
select
    *,
    {{ matched_amount() }} as matched_amount
from with_currency
