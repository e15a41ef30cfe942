-- One row per business lead of the business date and contradiction: its declared figures contradict
-- each other or its supply links, by the limits of expectations/policy/contradictions.yml. Also of
-- leads that are excluded: a contradiction says something of the channel.
--
-- A figure that is missing contradicts nothing. Links are the ones known before the business date.

{% set limits = var("contradictions") %}

with leads as (

    select
        *,
        {{ in_base_currency("revenue_annual", "currency") }} as base_revenue
    from {{ ref("leads") }}
    where segment = 'business'

),

founded as (

    select
        channel_id,
        lead_id,
        established_on
    from {{ ref("int_leads__in_scope") }}
    where business_date = {{ run_day() }}

),

first_sales as (

    select
        channel_id,
        lead_id,
        min(month_start) as month_start
    from {{ ref("int_supply__known") }}
    where is_sale
    group by channel_id, lead_id

),

figures as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.business_date,
        leads.currency,
        leads.revenue_annual,
        leads.base_revenue,
        leads.employees,
        leads.tax_paid_annual,
        leads.invoices_12m,
        leads.business_age_years,
        leads.supply_sales_12m,
        founded.established_on,
        first_sales.month_start as first_sale_month

    from leads
    inner join founded
        on leads.channel_id = founded.channel_id and leads.lead_id = founded.lead_id
    left join first_sales
        on leads.channel_id = first_sales.channel_id and leads.lead_id = first_sales.lead_id

),

found as (

    select
        *,
        'tax_above_revenue' as contradiction,
        revenue_annual as declared,
        tax_paid_annual as compared
    from figures
    where tax_paid_annual > {{ limits.max_tax_share }} * revenue_annual

    union all

    select
        *,
        'sales_above_revenue' as contradiction,
        revenue_annual as declared,
        supply_sales_12m as compared
    from figures
    where
        supply_sales_12m > {{ limits.max_sales_to_revenue }} * revenue_annual
        and coalesce(business_age_years >= {{ limits.min_age_years }}, true)

    union all

    select
        *,
        'too_many_invoices' as contradiction,
        revenue_annual as declared,
        cast(invoices_12m as double) as compared
    from figures
    where
        invoices_12m > 0
        and revenue_annual < {{ limits.min_revenue_per_invoice }} * invoices_12m

    union all

    select
        *,
        'sales_without_invoices' as contradiction,
        cast(invoices_12m as double) as declared,
        supply_sales_12m as compared
    from figures
    where invoices_12m = 0 and supply_sales_12m > 0

    union all

    select
        *,
        case when employees = 0 then 'revenue_without_employees' else 'revenue_per_employee' end
            as contradiction,
        cast(employees as double) as declared,
        revenue_annual as compared
    from figures
    where
        base_revenue > case
            when employees = 0 then {{ limits.max_revenue_without_employees }}
            else {{ limits.max_revenue_per_employee }} * employees
        end

    union all

    -- months before the business date in which it was founded, and first invoiced a known buyer
    select
        *,
        'sales_before_founding' as contradiction,
        cast({{ months_between("established_on", "business_date") }} as double) as declared,
        cast({{ months_between("first_sale_month", "business_date") }} as double) as compared
    from figures
    where
        {{ add_days(add_months("first_sale_month", 1), limits.founding_tolerance_days) }}
        <= established_on

)

select
    channel_id,
    lead_id,
    contradiction,
    declared,
    compared,
    currency

from found
