-- One row per report of a link that ever counted, with the dates between which it did.
--
-- Of the reports of a month between two businesses, the known one with the latest `recorded_at`
-- counts: an older report that arrives late never does. A report counts from the date after
-- `known_on` to `replaced_on`, the date on which a newer one became known, or without end.

with reports as (

    select
        *,
        {{ platform_date("known_at") }} as known_on,
        {{ row_hash(["platform_id", "buyer_sha256", "seller_sha256", "month_start"]) }} as link_hash

    from {{ ref("stg_lake__supply_links") }}

),

-- few links are reported twice; to sort the others would be most of the work. Two links of one hash
-- are sorted in vain and stay apart.
repeated as (

    select link_hash
    from reports
    group by link_hash
    having count(*) > 1

),

corrected as (

    select
        reports.*,
        max(reports.recorded_at) over (
            partition by
                reports.platform_id,
                reports.buyer_sha256,
                reports.seller_sha256,
                reports.month_start
            order by reports.known_at, reports.recorded_at, reports.amount, reports.currency
            rows between unbounded preceding and current row
        ) as latest_recorded_at

    from reports
    where reports.link_hash in (select repeated.link_hash from repeated)

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

    from corrected
    where recorded_at = latest_recorded_at

    union all

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
        cast(null as date) as replaced_on

    from reports
    where link_hash not in (select repeated.link_hash from repeated)

)

select * from versions
