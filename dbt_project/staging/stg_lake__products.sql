{{ config(materialized="view") }}
-- One row per product in each catalogue that an institution ever sent.

with source as (

    select * from {{ source("lake", "products") }}

),

renamed as (

    select
        -- keys
        institution_id,
        product_id,
        landed_on,
        "date" as known_on,

        -- what is lent; money in `currency`, rates as fractions a year
        name,
        segment,
        currency,
        amount_min,
        amount_max,
        term_min_months,
        term_max_months,
        apr_min,
        apr_max,
        pd_min,
        pd_max,
        coalesce(repayment, 'equal_instalments') as repayment,

        -- what Banyan is paid, and how much is taken
        price_model,
        price,
        daily_quota,
        daily_budget,
        monthly_quota,
        monthly_budget,
        target_cost_per_approval,
        target_cost_per_funded,

        -- when
        status,
        valid_from,
        valid_to

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
