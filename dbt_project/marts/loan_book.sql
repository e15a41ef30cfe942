-- One row per loan to a business that is funded and not repaid, as known before the end of the
-- business date, with the chain and the industry of the business when its lead came.
--
-- A repeated report of one loan counts by the newest. A loan in arrears is still in the book. The
-- loans of an erased lead are not, since nothing is known of its business.

with outcomes as (

    select * from {{ ref("outcomes") }}

),

leads as (

    select * from {{ ref("int_leads__in_scope") }}
    where segment = 'business'

),

features as (

    select * from {{ ref("lead_features") }}

),

funded as (

    select
        *,
        row_number() over (
            partition by channel_id, lead_id, institution_id, product_id
            order by recorded_at desc, event_at desc, amount desc nulls last
        ) as newest
    from outcomes
    where event = 'funded'

),

later as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        bool_or(event = 'repaid') as is_repaid,
        bool_or(event in ('overdue_30', 'overdue_60', 'overdue_90')) as is_overdue
    from outcomes
    group by channel_id, lead_id, institution_id, product_id

)

select
    funded.channel_id,
    funded.lead_id,
    funded.institution_id,
    funded.product_id,
    {{ platform_date("funded.event_at") }} as funded_on,
    coalesce(funded.amount, leads.matched_amount) as amount,
    coalesce(funded.currency, leads.currency) as currency,
    features.industry,
    features.supply_chain_code,
    later.is_overdue

from funded
inner join leads
    on funded.channel_id = leads.channel_id and funded.lead_id = leads.lead_id
inner join features
    on funded.channel_id = features.channel_id and funded.lead_id = features.lead_id
inner join later
    on
        funded.channel_id = later.channel_id
        and funded.lead_id = later.lead_id
        and funded.institution_id = later.institution_id
        and funded.product_id = later.product_id
where funded.newest = 1 and not later.is_repaid
