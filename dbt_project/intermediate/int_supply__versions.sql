-- One row per report of a link that ever counted, with the dates between which it did.
--
-- Of the reports of a month between two businesses, the known one with the latest `recorded_at`
-- counts: an older report that arrives late never does. A report counts from the date after
-- `known_on` to `replaced_on`, the date on which a newer one became known, or without end.

with reports as (

    select
        *,
        {{ platform_date("known_at") }} as known_on,
        max(recorded_at) over (
            partition by platform_id, buyer_sha256, seller_sha256, month_start
            order by known_at, recorded_at, amount, currency
            rows between unbounded preceding and current row
        ) as latest_recorded_at

    from {{ ref("stg_lake__supply_links") }}

),

versions as (

    select
        platform_id,
        buyer_sha256,
        seller_sha256,
        month_start,
        amount,
        currency,
        paid_late_share,
        confirmed_share,
        days_to_pay,
        known_on,
        lead(known_on) over (
            partition by platform_id, buyer_sha256, seller_sha256, month_start
            order by known_at, recorded_at, amount, currency
        ) as replaced_on

    from reports
    where recorded_at = latest_recorded_at

)

select * from versions
