-- Loans of businesses of one industry and region before each business date: arrears that became
-- known in a year, for each loan funded in that year. With little history the rate is close to the
-- industry's, and that to the rate of all.
--
-- Point in time: only what was known before the start of the business date counts.

{% set year = var("peer_window_days") | int %}
{% set figures = [
    {"name": "loans", "of": "loans", "days": year},
    {"name": "arrears", "of": "arrears", "days": year},
] %}
{% set smoothing = "cast(%s as double)" % var("smoothing_loans") %}

with leads as (

    select
        channel_id,
        lead_id,
        coalesce(industry, '') as industry,
        coalesce(region, '') as region
    from {{ ref("stg_lake__leads") }}
    where segment = 'business'

),

outcomes as (

    select
        channel_id,
        lead_id,
        case when event = 'funded' then 1 else 0 end as loans,
        case when event = 'funded' then 0 else 1 end as arrears,
        min(known_on) as known_on
    from {{ ref("int_outcomes__linked") }}
    where unlinked_reason is null and event in ('funded', 'overdue_30', 'overdue_60', 'overdue_90')
    group by channel_id, lead_id, loans, arrears

),

events as (

    select
        leads.industry,
        leads.region,
        outcomes.known_on,
        sum(outcomes.loans) as loans,
        sum(outcomes.arrears) as arrears
    from outcomes
    inner join leads
        on outcomes.channel_id = leads.channel_id and outcomes.lead_id = leads.lead_id
    group by leads.industry, leads.region, outcomes.known_on

),

region_days as (

    select distinct
        coalesce(industry, '') as industry,
        coalesce(region, '') as region,
        business_date
    from {{ ref("int_leads__in_scope") }}
    where segment = 'business'

),

industry_days as (

    select distinct
        industry,
        business_date
    from region_days

),

days as (

    select distinct business_date from region_days

),

by_region as (

    {{ known_before("events", "region_days", ["industry", "region"], figures) }}

),

by_industry as (

    {{ known_before("events", "industry_days", ["industry"], figures) }}

),

everyone as (

    {{ known_before("events", "days", [], figures) }}

),

rates as (

    select
        by_region.industry,
        by_region.region,
        by_region.business_date,
        by_region.loans,
        by_region.arrears,
        (
            by_industry.arrears
            + {{ smoothing }} * everyone.arrears / nullif(everyone.loans, 0)
        ) / (by_industry.loans + {{ smoothing }}) as industry_rate

    from by_region
    inner join by_industry
        on
            by_region.industry = by_industry.industry
            and by_region.business_date = by_industry.business_date
    inner join everyone
        on by_region.business_date = everyone.business_date

)

select
    industry,
    region,
    business_date,
    cast(
        (arrears + {{ smoothing }} * industry_rate) / (loans + {{ smoothing }}) as double
    ) as arrears_rate

from rates
