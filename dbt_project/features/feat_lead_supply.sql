-- Buyers and sellers of a business, over the months before its lead's business date.
--
-- Point in time: of the reports of a month between two businesses, the one with the latest
-- `recorded_at` that was known before the start of the business date counts.

with leads as (

    select
        channel_id,
        lead_id,
        business_date,
        currency,
        id_number_sha256,
        {{ day_start("business_date") }} as day_starts_at,
        {{ add_months("business_date", - (var("supply_window_months") | int)) }} as window_starts_on

    from {{ ref("int_leads__in_scope") }}
    where
        segment = 'business'
        and id_number_sha256 is not null

),

links as (

    select * from {{ ref("stg_lake__supply_links") }}

),

links_by_business as (

    select
        *,
        seller_sha256 as id_number_sha256,
        true as is_sale
    from links
    union all
    select
        *,
        buyer_sha256 as id_number_sha256,
        false as is_sale
    from links

),

known as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.business_date,
        links.is_sale,
        links.buyer_sha256,
        links.seller_sha256,
        links.paid_late_share,
        case when links.currency = leads.currency then {{ exact("links.amount") }} end as amount,
        row_number() over (
            partition by
                leads.channel_id,
                leads.lead_id,
                links.is_sale,
                links.platform_id,
                links.buyer_sha256,
                links.seller_sha256,
                links.month_start
            order by links.recorded_at desc, links.known_at desc
        ) as age_rank

    from leads
    inner join links_by_business as links
        on
            leads.id_number_sha256 = links.id_number_sha256
            and leads.day_starts_at > links.known_at
            and leads.window_starts_on <= links.month_start

),

featured as (

    select
        channel_id,
        lead_id,
        business_date,
        count(distinct case when is_sale then buyer_sha256 end) as supply_buyers,
        count(distinct case when not is_sale then seller_sha256 end) as supply_sellers,
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
    where age_rank = 1
    group by channel_id, lead_id, business_date

)

select * from featured
