{{ config(materialized="view") }}
-- One row per lead as its channel sent it. Names, numbers, dates of birth and protected attributes
-- stay in the lake: no table of the warehouse can use what none of them holds.

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

        -- who asks, as hashes
        segment,
        person_key,
        id_number_sha256,
        phone_sha256,
        device_id,
        is_id_valid,
        is_phone_valid,

        -- consent
        consent_scope,
        consent_at,
        consent_withdrawn_at,

        -- means
        region,
        age_years,
        employment,
        housing,
        income_monthly,
        debt_monthly,
        bureau_score,

        -- need; money in `currency`
        amount,
        currency,
        term_months,
        purpose,

        -- business
        industry,
        established_on,
        revenue_annual,
        employees,
        tax_paid_annual,
        invoices_12m,
        is_new_business,
        is_franchise,
        is_urban,
        jobs_created,
        jobs_retained,

        -- what secures the loan
        collateral_value,
        loan_to_value,
        loan_program,
        occupancy,
        dwelling,
        is_revolving,
        guaranteed_share

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
