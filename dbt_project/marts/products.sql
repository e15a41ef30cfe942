-- One row per product of the catalogues in force on the business date: its terms, its institution's
-- admission, whether it takes leads at all, and what had been decided on it before. What restricts
-- it and could not be read closes it.

with products as (

    select * from {{ ref("int_products__versions") }}
    where is_in_force

),

institutions as (

    select * from {{ ref("int_institutions__versions") }}
    where is_in_force

),

admissions as (

    select * from {{ ref("int_institutions__admissions") }}

),

restrictions as (

    select * from {{ ref("int_restrictions__in_force") }}

),

month_use as (

    select * from {{ ref("int_products__month_use") }}

),

actual_to_expected as (

    select * from {{ ref("int_institutions__actual_to_expected") }}

),

institution_history as (

    select * from {{ ref("feat_institutions") }}
    where business_date = {{ run_day() }}

),

product_history as (

    select * from {{ ref("feat_products") }}
    where business_date = {{ run_day() }}

),

described as (

    select
        products.institution_id,
        products.product_id,
        institutions.institution_kind,
        institutions.register_applications as institution_register_applications,
        institutions.register_approvals as institution_register_approvals,
        institutions.total_assets as institution_total_assets,
        products.name,
        products.segment,
        products.currency,
        products.amount_min,
        products.amount_max,
        products.term_min_months,
        products.term_max_months,
        products.apr_min,
        products.apr_max,
        products.pd_min,
        products.pd_max,
        products.repayment,
        products.price_model,
        products.price,
        products.daily_quota,
        products.daily_budget,
        products.monthly_quota,
        products.monthly_budget,
        month_use.month_leads,
        month_use.month_spend,
        products.target_cost_per_approval,
        products.target_cost_per_funded,
        products.status,
        products.valid_from,
        products.valid_to,
        coalesce(admissions.admitted_from, institutions.admitted_from) as admitted_from,
        coalesce(admissions.admitted_to, institutions.admitted_to) as admitted_to,
        institutions.delivery,
        institutions.format,
        institutions.fields,
        institutions.public_key,
        case
            when institutions.institution_id is null then 'unknown_institution'
            when
                not coalesce(admissions.is_listed, false)
                or admissions.admitted_from > {{ run_day() }}
                or admissions.admitted_to < {{ run_day() }}
                then 'not_admitted'
            when products.status = 'paused' then 'paused'
            when products.valid_from > {{ run_day() }} then 'not_valid_yet'
            when products.valid_to < {{ run_day() }} then 'expired'
            else restrictions.closed_reason
        end as closed_reason,
        institution_history.decisions as institution_decisions,
        institution_history.approval_rate as institution_approval_rate,
        institution_history.approval_rate_90d as institution_approval_rate_90d,
        institution_history.funded_rate as institution_funded_rate,
        institution_history.lent_share_of_month as institution_lent_share_of_month,
        {{ days_to_month_end(run_day()) }} as days_to_month_end,
        product_history.decisions as product_decisions,
        product_history.approval_rate as product_approval_rate,
        product_history.funded_rate as product_funded_rate,
        actual_to_expected.approvals_to_expected as institution_approvals_to_expected,
        actual_to_expected.fundings_to_expected as institution_fundings_to_expected

    from products
    left join institutions
        on products.institution_id = institutions.institution_id
    left join admissions
        on products.institution_id = admissions.institution_id
    left join month_use
        on
            products.institution_id = month_use.institution_id
            and products.product_id = month_use.product_id
    left join restrictions
        on
            products.institution_id = restrictions.institution_id
            and products.product_id = restrictions.product_id
    inner join actual_to_expected
        on products.institution_id = actual_to_expected.institution_id
    inner join institution_history
        on products.institution_id = institution_history.institution_id
    inner join product_history
        on
            products.institution_id = product_history.institution_id
            and products.product_id = product_history.product_id

)

select
    institution_id,
    product_id,
    institution_kind,
    institution_register_applications,
    institution_register_approvals,
    institution_total_assets,
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
    repayment,
    price_model,
    price,
    daily_quota,
    daily_budget,
    monthly_quota,
    monthly_budget,
    month_leads,
    month_spend,
    target_cost_per_approval,
    target_cost_per_funded,
    status,
    valid_from,
    valid_to,
    admitted_from,
    admitted_to,
    delivery,
    format,
    fields,
    public_key,
    closed_reason is null as is_open,
    closed_reason,
    institution_decisions,
    institution_approval_rate,
    institution_approval_rate_90d,
    institution_funded_rate,
    institution_lent_share_of_month,
    days_to_month_end,
    product_decisions,
    product_approval_rate,
    product_funded_rate,
    institution_approvals_to_expected,
    institution_fundings_to_expected

from described
