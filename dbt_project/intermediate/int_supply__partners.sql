-- One row per business lead, side and partner of the window before its business date: the share of
-- the lead's sales or purchases, and what was known of the partner before that date.
--
-- `surge` is how much later the partner pays in the recent months than in its median month, in
-- log-odds. A business that is paid late pays late in turn, which says nothing of itself: of its
-- usual lateness and its surge, `lateness_passed_on` of the lateness with which it is paid is taken
-- off. `default_log_odds` is of a stated probability, by `partner_*` in dbt_project.yml: so one
-- that never was a lead has one too, and no model reads what it predicted itself.
--
-- Point in time: links, payments and outcomes known before the start of the business date.

{% set window = var("supply_window_months") | int %}
{% set recent = var("supply_recent_months") | int %}
{% set history = var("supply_history_months") | int %}
{% set smoothing = "cast(%s as double)" % var("smoothing_payments") %}
{% set smoothing_months = "cast(%s as double)" % var("smoothing_months") %}
{% set passed_on = "cast(%s as double)" % var("lateness_passed_on") %}

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
        sum(late_sum) as late_sum,
        sum(late_log_odds_sum) as late_log_odds_sum
    from payments
    group by month_start, known_on

),

-- how late any business pays: the rate of a partner with few payments is close to it
typical as (

    select
        business_dates.business_date,
        cast(sum(payments.late_sum) as double) / nullif(sum(payments.payments), 0) as late_share,
        cast(sum(payments.late_log_odds_sum) as double) / nullif(sum(payments.payments), 0)
            as late_log_odds

    from business_dates
    inner join payments_by_month as payments
        on
            business_dates.business_date > payments.known_on
            and {{ months_between("payments.month_start", "business_dates.business_date") }}
            <= {{ window }}
    group by business_dates.business_date

),

paid_by_month as (

    select
        partner_days.partner_sha256,
        partner_days.business_date,
        {{ months_between("payments.month_start", "partner_days.business_date") }} as months_ago,
        sum(payments.payments) as payments,
        sum(payments.late_sum) as late_sum,
        sum(payments.late_log_odds_sum) as late_log_odds_sum

    from partner_days
    inner join payments
        on
            partner_days.partner_sha256 = payments.buyer_sha256
            and partner_days.business_date > payments.known_on
            and {{ months_between("payments.month_start", "partner_days.business_date") }}
            <= {{ history }}
    group by partner_days.partner_sha256, partner_days.business_date, payments.month_start
    having sum(payments.payments) > 0

),

paid as (

    select
        partner_sha256,
        business_date,
        sum(payments) filter (where months_ago <= {{ window }}) as payments,
        sum(late_sum) filter (where months_ago <= {{ window }}) as late_sum,
        sum(payments) filter (where months_ago <= {{ recent }}) as recent_payments,
        sum(late_sum) filter (where months_ago <= {{ recent }}) as recent_late,
        sum(late_log_odds_sum) filter (where months_ago <= {{ recent }}) as recent_log_odds,
        count(*) as months,
        -- the median month: a spell of late payments of less than half of the time does not move it
        median(cast(late_log_odds_sum as double) / payments) as median_log_odds

    from paid_by_month
    group by partner_sha256, business_date

),

received_by_month as (

    select
        partner_days.partner_sha256,
        partner_days.business_date,
        {{ months_between("versions.month_start", "partner_days.business_date") }} as months_ago,
        count(*) as receipts,
        sum({{ exact(log_odds("versions.paid_late_share")) }}) as late_log_odds_sum

    from partner_days
    inner join {{ ref("int_supply__versions") }} as versions
        on
            partner_days.partner_sha256 = versions.seller_sha256
            and partner_days.business_date > versions.known_on
            and {{ months_between("versions.month_start", "partner_days.business_date") }}
            <= {{ history }}
    where
        versions.paid_late_share is not null
        and (
            versions.replaced_on is null or versions.replaced_on >= partner_days.business_date
        )
    group by partner_days.partner_sha256, partner_days.business_date, versions.month_start

),

received as (

    select
        partner_sha256,
        business_date,
        coalesce(sum(receipts) filter (where months_ago <= {{ recent }}), 0) as recent_receipts,
        coalesce(sum(late_log_odds_sum) filter (where months_ago <= {{ recent }}), 0)
            as recent_log_odds,
        count(*) as months,
        median(cast(late_log_odds_sum as double) / receipts) as median_log_odds

    from received_by_month
    group by partner_sha256, business_date

),

received_usually as (

    select
        received.partner_sha256,
        received.business_date,
        received.recent_receipts,
        cast(received.recent_log_odds as double) as recent_log_odds,
        (
            received.months * received.median_log_odds
            + {{ smoothing_months }} * typical.late_log_odds
        )
        / (received.months + {{ smoothing_months }}) - typical.late_log_odds as usual_wait,
        typical.late_log_odds as typical_log_odds

    from received
    inner join typical on received.business_date = typical.business_date

),

-- how late it is paid itself, and how much later in the recent months, in log-odds as its payments
waiting as (

    select
        partner_sha256,
        business_date,
        usual_wait,
        (recent_log_odds - recent_receipts * (typical_log_odds + usual_wait))
        / (recent_receipts + 1) as wait_surge

    from received_usually

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
        cast(coalesce(paid.recent_log_odds, 0) as double) as recent_log_odds,
        (cast(paid.late_sum as double) + {{ smoothing }} * typical.late_share)
        / (paid.payments + {{ smoothing }}) as late_share,
        (paid.months * paid.median_log_odds + {{ smoothing_months }} * typical.late_log_odds)
        / (paid.months + {{ smoothing_months }}) - typical.late_log_odds as usual_lateness,
        typical.late_log_odds as typical_log_odds

    from paid
    inner join typical on paid.business_date = typical.business_date
    where paid.payments > 0

),

paying as (

    select
        smoothed.partner_sha256,
        smoothed.business_date,
        smoothed.payments,
        smoothed.late_share,
        (smoothed.recent_late + {{ smoothing }} * smoothed.late_share)
        / (smoothed.recent_payments + {{ smoothing }}) as recent_late_share,
        smoothed.usual_lateness - {{ passed_on }} * coalesce(waiting.usual_wait, 0)
            as usual_lateness,
        -- as if one more recent payment had been as late as usual
        (
            smoothed.recent_log_odds
            - smoothed.recent_payments * (smoothed.typical_log_odds + smoothed.usual_lateness)
        )
        / (smoothed.recent_payments + 1)
        - {{ passed_on }} * coalesce(waiting.wait_surge, 0) as surge

    from smoothed
    left join waiting
        on
            smoothed.partner_sha256 = waiting.partner_sha256
            and smoothed.business_date = waiting.business_date

),

described as (

    select
        partners.*,
        paying.payments,
        paying.late_share,
        paying.recent_late_share,
        paying.usual_lateness,
        paying.surge,
        {{ logistic("4 * (coalesce(paying.surge, 0) - 1)") }} as surge_probability,
        coalesce(borrowed.has_arrears, false) as has_arrears,
        coalesce(borrowed.has_default, false) as has_default,
        coalesce(borrowed.refused_share, 0) as refused_share,
        paying.partner_sha256 is not null or borrowed.partner_sha256 is not null as is_known

    from partners
    left join paying
        on
            partners.partner_sha256 = paying.partner_sha256
            and partners.business_date = paying.business_date
    left join borrowed
        on
            partners.partner_sha256 = borrowed.partner_sha256
            and partners.business_date = borrowed.business_date

)

select
    channel_id,
    lead_id,
    business_date,
    is_sale,
    partner_sha256,
    first_month,
    amount,
    cast(
        amount / nullif(sum(amount) over (partition by channel_id, lead_id, is_sale), 0) as double
    ) as exposure,
    payments,
    late_share,
    recent_late_share,
    usual_lateness,
    surge_probability,
    {{ log_odds(var("partner_default_rate")) }}
    + {{ var("partner_lateness_weight") }} * coalesce(usual_lateness, 0)
    + {{ var("partner_surge_weight") }} * surge_probability
    + {{ var("partner_arrears_weight") }} * cast(has_arrears as integer) as default_log_odds,
    is_known,
    has_arrears,
    has_default,
    refused_share

from described
