-- Buyers and sellers of a business, over the months before its lead's business date.
--
-- Point in time: by the invoices that were known before the business date.

with known as (

    select *
    from {{ ref("int_supply__known") }}
    where month_start >= {{ add_months("business_date", - (var("supply_window_months") | int)) }}

),

featured as (

    select
        channel_id,
        lead_id,
        business_date,
        count(distinct case when is_sale then partner_sha256 end) as supply_buyers,
        count(distinct case when not is_sale then partner_sha256 end) as supply_sellers,
        cast(sum(case when is_sale then amount else 0 end) as double) as supply_sales_12m,
        -- share of its purchases, by amount, that it pays late
        cast(sum(case when not is_sale then {{ exact("amount * paid_late_share") }} end) as double)
        / nullif(sum(case when not is_sale and paid_late_share is not null then amount end), 0)
            as supply_paid_late_share,
        -- share of its sales, by amount, that its buyers pay late
        cast(sum(case when is_sale then {{ exact("amount * paid_late_share") }} end) as double)
        / nullif(sum(case when is_sale and paid_late_share is not null then amount end), 0)
            as supply_buyers_late_share

    from known
    group by channel_id, lead_id, business_date

)

select * from featured
