-- Features derived from a lead's own row: age of the business, debt and request to income or
-- revenue. They read no other row, so no later information can enter.

with leads as (

    select * from {{ ref("int_leads__in_scope") }}

),

derived as (

    select
        channel_id,
        lead_id,
        business_date,
        case
            when established_on <= business_date
                then
                    cast({{ days_between("established_on", "business_date") }} as double)
                    / 365.25
        end as business_age_years,
        debt_monthly / nullif(income_monthly, 0) as debt_to_income,
        amount / nullif(income_monthly * 12, 0) as amount_to_income,
        amount / nullif(collateral_value, 0) as amount_to_collateral,
        amount / nullif(revenue_annual, 0) as amount_to_revenue

    from leads

)

select * from derived
