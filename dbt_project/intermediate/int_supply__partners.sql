-- One row per business lead, side and partner of the window before its business date: the share of
-- the lead's sales or purchases, and what was known of the partner before that date.
--
-- Point in time: links, payments and outcomes known before the start of the business date.

{% set window = var("supply_window_months") | int %}
{% set recent = var("supply_recent_months") | int %}
{% set smoothing = "cast(%s as double)" % var("smoothing_payments") %}

with known as (

    select
        *,
        {{ months_between("month_start", "business_date") }} <= {{ window }} as is_in_window
    from {{ ref("int_supply__known") }}

),

payments as (

    select * from {{ ref("int_supply__payments") }}

),

outcomes as (

    select * from {{ ref("int_supply__firm_outcomes") }}

),

partners as (

    select
        channel_id,
        lead_id,
        business_date,
        is_sale,
        partner_sha256,
        min(month_start) as first_month,
        sum(case when is_in_window then amount end) as amount

    from known
    group by channel_id, lead_id, business_date, is_sale, partner_sha256
    having max(cast(is_in_window as integer)) = 1

),

partner_days as (

    select distinct
        partner_sha256,
        business_date
    from partners

),

business_dates as (

    select distinct business_date from partner_days

),

payments_by_month as (

    select
        month_start,
        known_on,
        sum(payments) as payments,
        sum(late_sum) as late_sum
    from payments
    group by month_start, known_on

),

-- how late any business pays: the rate of a partner with few payments is close to it
typical as (

    select
        business_dates.business_date,
        cast(sum(payments.late_sum) as double) / nullif(sum(payments.payments), 0) as late_share

    from business_dates
    inner join payments_by_month as payments
        on
            business_dates.business_date > payments.known_on
            and {{ months_between("payments.month_start", "business_dates.business_date") }}
            <= {{ window }}
    group by business_dates.business_date

),

paid as (

    select
        partner_days.partner_sha256,
        partner_days.business_date,
        sum(payments.payments) as payments,
        sum(payments.late_sum) as late_sum,
        sum(payments.payments) filter (
            where {{ months_between("payments.month_start", "partner_days.business_date") }}
            <= {{ recent }}
        ) as recent_payments,
        sum(payments.late_sum) filter (
            where {{ months_between("payments.month_start", "partner_days.business_date") }}
            <= {{ recent }}
        ) as recent_late

    from partner_days
    inner join payments
        on
            partner_days.partner_sha256 = payments.buyer_sha256
            and partner_days.business_date > payments.known_on
            and {{ months_between("payments.month_start", "partner_days.business_date") }}
            <= {{ window }}
    group by partner_days.partner_sha256, partner_days.business_date

),

borrowed as (

    select
        partner_days.partner_sha256,
        partner_days.business_date,
        sum(outcomes.arrears) > 0 as has_arrears,
        sum(outcomes.defaulted_loans) > 0 as has_default,
        cast(sum(outcomes.refusals) as double) / nullif(sum(outcomes.decisions), 0)
            as refused_share

    from partner_days
    inner join outcomes
        on
            partner_days.partner_sha256 = outcomes.id_number_sha256
            and partner_days.business_date > outcomes.known_on
    group by partner_days.partner_sha256, partner_days.business_date

),

smoothed as (

    select
        paid.partner_sha256,
        paid.business_date,
        paid.payments,
        coalesce(paid.recent_payments, 0) as recent_payments,
        cast(coalesce(paid.recent_late, 0) as double) as recent_late,
        (cast(paid.late_sum as double) + {{ smoothing }} * typical.late_share)
        / (paid.payments + {{ smoothing }}) as late_share

    from paid
    inner join typical on paid.business_date = typical.business_date
    where paid.payments > 0

)

select
    partners.channel_id,
    partners.lead_id,
    partners.business_date,
    partners.is_sale,
    partners.partner_sha256,
    partners.first_month,
    partners.amount,
    cast(
        partners.amount / nullif(
            sum(partners.amount) over (
                partition by partners.channel_id, partners.lead_id, partners.is_sale
            ), 0
        ) as double
    ) as exposure,
    smoothed.payments,
    smoothed.late_share,
    (smoothed.recent_late + {{ smoothing }} * smoothed.late_share)
    / (smoothed.recent_payments + {{ smoothing }}) as recent_late_share,
    coalesce(borrowed.has_arrears, false) as has_arrears,
    coalesce(borrowed.has_default, false) as has_default,
    coalesce(borrowed.refused_share, 0) as refused_share

from partners
left join smoothed
    on
        partners.partner_sha256 = smoothed.partner_sha256
        and partners.business_date = smoothed.business_date
left join borrowed
    on
        partners.partner_sha256 = borrowed.partner_sha256
        and partners.business_date = borrowed.business_date
