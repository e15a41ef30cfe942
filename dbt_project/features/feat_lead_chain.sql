-- The partners of a business as known before its lead's business date: how they pay, what became of
-- their loans, how much hangs on each; and the business's own invoices and payments over time.
--
-- Point in time: every figure is of `int_supply__known` and `int_supply__partners`, which are.

{% set window = var("supply_window_months") | int %}
{% set recent = var("supply_recent_months") | int %}

with known as (

    select
        *,
        {{ months_between("month_start", "business_date") }} as months_ago
    from {{ ref("int_supply__known") }}

),

partners as (

    select
        *,
        {{ months_between("first_month", "business_date") }} as months_known,
        case when late_share is not null then exposure end as paying_exposure,
        case when is_known then exposure end as known_exposure,
        {{ logistic("default_log_odds") }} as default_probability,
        row_number() over (
            partition by channel_id, lead_id, is_sale
            order by exposure desc nulls last, partner_sha256 asc
        ) as size_rank
    from {{ ref("int_supply__partners") }}

),

by_side as (

    select
        channel_id,
        lead_id,
        business_date,
        is_sale,
        cast(sum({{ exact("exposure * cast(has_arrears as integer)") }}) as double)
            as arrears_share,
        cast(sum({{ exact("exposure * cast(has_default as integer)") }}) as double)
            as default_share,
        cast(sum({{ exact("exposure * refused_share") }}) as double) as refused_share,
        cast(sum({{ exact("exposure * usual_lateness") }}) as double)
        / nullif(cast(sum({{ exact("paying_exposure") }}) as double), 0) as usual_lateness,
        cast(sum({{ exact("exposure * surge_probability") }}) as double) as surge_share,
        -- Berloco and others (2021, PLOS ONE 16(4) e0250115): the exposure to the partners, times
        -- the log-odds of their weighted default probability; here above a typical partner's, so
        -- that 0 is typical and so is an unknown partner
        cast(sum({{ exact("known_exposure") }}) as double) * (
            {{ log_odds("(%s / nullif(%s, 0))" % (
                "cast(sum(" ~ exact("known_exposure * default_probability") ~ ") as double)",
                "cast(sum(" ~ exact("known_exposure") ~ ") as double)",
            )) }} - {{ log_odds(var("partner_default_rate")) }}
        ) as risk,
        max(default_probability) as highest_default_probability,
        cast(sum({{ exact("exposure * late_share") }}) as double)
        / nullif(cast(sum({{ exact("paying_exposure") }}) as double), 0) as pay_late,
        cast(sum({{ exact("exposure * (recent_late_share - late_share)") }}) as double)
        / nullif(cast(sum({{ exact("paying_exposure") }}) as double), 0) as pay_late_change,
        cast(sum({{ exact("exposure * exposure") }}) as double) as concentration,
        max(exposure) as largest_share,
        cast(
            sum(case when months_known <= {{ recent }} then {{ exact("exposure") }} else 0 end)
            as double
        ) as new_share,
        cast(sum({{ exact("exposure * months_known") }}) as double) as tenure_months,
        cast(max(case when size_rank = 1 then payments end) as bigint) as anchor_payments,
        max(
            case
                when size_rank = 1 and exposure >= {{ var("anchor_share") }} then partner_sha256
            end
        ) as anchor_sha256

    from partners
    group by channel_id, lead_id, business_date, is_sale

),

over_time as (

    select
        channel_id,
        lead_id,
        business_date,
        {{ window }} - count(
            distinct case
                when is_sale and months_ago between 1 and {{ window }} then month_start
            end
        ) as supply_months_without_sales,
        cast(
            sum(case when is_sale and months_ago between 1 and {{ recent }} then amount end)
            as double
        )
        / nullif(
            cast(
                sum(
                    case
                        when is_sale and months_ago between 13 and {{ 12 + recent }} then amount
                    end
                ) as double
            ), 0
        ) as supply_sales_growth,
        avg(
            case
                when not is_sale and months_ago <= {{ recent }}
                    then {{ exact("paid_late_share") }}
            end
        )
        - avg(
            case
                when not is_sale and months_ago <= {{ window }}
                    then {{ exact("paid_late_share") }}
            end
        ) as supply_paid_late_change,
        avg(
            case when is_sale and months_ago <= {{ window }} then {{ exact("days_to_pay") }} end
        )
        - avg(
            case
                when not is_sale and months_ago <= {{ window }} then {{ exact("days_to_pay") }}
            end
        ) as supply_days_gap,
        cast(
            sum(
                case
                    when is_sale and months_ago <= {{ window }}
                        then {{ exact("amount * confirmed_share") }}
                end
            ) as double
        )
        / nullif(
            cast(
                sum(
                    case
                        when
                            is_sale and confirmed_share is not null and months_ago <= {{ window }}
                            then amount
                    end
                ) as double
            ), 0
        ) as supply_confirmed_share

    from known
    group by channel_id, lead_id, business_date

),

featured as (

    select
        over_time.channel_id,
        over_time.lead_id,
        over_time.business_date,
        {{ chain_code("buyers.anchor_sha256") }} as supply_chain_code,
        buyers.pay_late as supply_buyers_pay_late,
        buyers.pay_late_change as supply_buyers_pay_late_change,
        buyers.arrears_share as supply_buyers_arrears_share,
        buyers.default_share as supply_buyers_default_share,
        buyers.refused_share as supply_buyers_refused_share,
        buyers.risk as supply_buyers_risk,
        buyers.highest_default_probability as supply_riskiest_buyer,
        buyers.usual_lateness as supply_buyers_usual_lateness,
        buyers.surge_share as supply_buyers_surge_share,
        buyers.concentration as supply_buyers_concentration,
        buyers.largest_share as supply_largest_buyer_share,
        buyers.new_share as supply_new_buyers_share,
        buyers.tenure_months as supply_buyers_tenure_months,
        buyers.anchor_payments as supply_anchor_payments,
        over_time.supply_confirmed_share,
        sellers.pay_late as supply_sellers_pay_late,
        sellers.arrears_share as supply_sellers_arrears_share,
        sellers.default_share as supply_sellers_default_share,
        sellers.refused_share as supply_sellers_refused_share,
        sellers.risk as supply_sellers_risk,
        sellers.concentration as supply_sellers_concentration,
        sellers.largest_share as supply_largest_seller_share,
        over_time.supply_paid_late_change,
        over_time.supply_days_gap,
        cast(over_time.supply_months_without_sales as bigint) as supply_months_without_sales,
        over_time.supply_sales_growth

    from over_time
    left join by_side as buyers
        on
            over_time.channel_id = buyers.channel_id
            and over_time.lead_id = buyers.lead_id
            and buyers.is_sale
    left join by_side as sellers
        on
            over_time.channel_id = sellers.channel_id
            and over_time.lead_id = sellers.lead_id
            and not sellers.is_sale

)

select * from featured
