-- What borrowers cost: channel spend by campaign, month of capture (cohort), institution and
-- product, as known before the business date.
--
-- A campaign's spend of a month is allocated evenly over its leads of that month; spend without a
-- campaign evenly over all leads of the channel. A lead's share is split evenly over its
-- deliveries; the share of a lead that nobody received is in a row without an institution, and
-- spend without any lead in a row without leads. So the rows of a channel and cohort add up to its
-- spend.

{% set first_month = add_months(month_of(run_day()), 1 - var("acquisition_months") | int) %}

with reports as (

    select
        channel_id,
        campaign_id,
        currency,
        spend,
        {{ month_of("spent_on") }} as cohort,
        row_number() over (
            partition by channel_id, spent_on, campaign_id, currency
            order by known_on desc
        ) as age

    from {{ ref("stg_lake__channel_spend") }}
    where known_on < {{ run_day() }} and spent_on >= {{ first_month }}

),

-- spend in several currencies has no sum: unknown, rather than wrong
currencies as (

    select
        channel_id,
        cohort,
        min(currency) as currency

    from reports
    where age = 1
    group by channel_id, cohort
    having min(currency) = max(currency)

),

spend as (

    select
        reports.channel_id,
        reports.campaign_id,
        reports.cohort,
        sum({{ exact("reports.spend") }}) as spend

    from reports
    inner join currencies
        on
            reports.channel_id = currencies.channel_id
            and reports.cohort = currencies.cohort
    where reports.age = 1
    group by reports.channel_id, reports.campaign_id, reports.cohort

),

leads as (

    select
        channel_id,
        lead_id,
        campaign_id,
        {{ month_of(platform_date("captured_at")) }} as cohort

    from {{ ref("stg_lake__leads") }}
    where
        business_date < {{ run_day() }}
        and {{ platform_date("captured_at") }} >= {{ first_month }}

),

campaigns as (

    select
        channel_id,
        campaign_id,
        cohort,
        count(*) as leads,
        sum(count(*)) over (partition by channel_id, cohort) as channel_leads

    from leads
    group by channel_id, campaign_id, cohort

),

lead_costs as (

    select
        campaigns.channel_id,
        campaigns.campaign_id,
        campaigns.cohort,
        case
            when currencies.currency is not null
                then
                    coalesce(
                        case when campaigns.campaign_id <> '' then named.spend end, 0
                    ) / campaigns.leads
                    + coalesce(general.spend, 0) / campaigns.channel_leads
        end as cost_per_lead

    from campaigns
    left join currencies
        on campaigns.channel_id = currencies.channel_id and campaigns.cohort = currencies.cohort
    left join spend as named
        on
            campaigns.channel_id = named.channel_id
            and campaigns.campaign_id = named.campaign_id
            and campaigns.cohort = named.cohort
    left join spend as general
        on
            campaigns.channel_id = general.channel_id
            and campaigns.cohort = general.cohort
            and general.campaign_id = ''

),

deliveries as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.campaign_id,
        leads.cohort,
        delivered.institution_id,
        delivered.product_id,
        count(*) over (partition by leads.channel_id, leads.lead_id) as recipients

    from leads
    left join {{ ref("stg_published__delivered") }} as delivered
        on leads.channel_id = delivered.channel_id and leads.lead_id = delivered.lead_id

),

decided as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        currency,
        max(case when event in ('approved', 'funded') then 1 else 0 end) as approved,
        max(case when event = 'funded' then 1 else 0 end) as funded,
        max(case when event = 'funded' then amount end) as amount,
        max(case when event = 'funded' then amount * apr end) as annual_yield

    from {{ ref("int_outcomes__linked") }}
    where unlinked_reason is null and known_on < {{ run_day() }}
    group by channel_id, lead_id, institution_id, product_id, currency

),

outcomes as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        max(approved) as approved,
        max(funded) as funded,
        max(case when funded = 1 then currency end) as currency,
        max(amount) as amount,
        max(annual_yield) as annual_yield

    from decided
    group by channel_id, lead_id, institution_id, product_id

),

costs as (

    select
        deliveries.channel_id,
        deliveries.campaign_id,
        deliveries.cohort,
        deliveries.institution_id,
        deliveries.product_id,
        count(*) as leads,
        cast(sum({{ exact("1.0 / deliveries.recipients") }}) as double) as lead_share,
        count(deliveries.institution_id) as delivered,
        cast(coalesce(sum(outcomes.approved), 0) as bigint) as approved,
        cast(coalesce(sum(outcomes.funded), 0) as bigint) as funded,
        cast(
            sum({{ exact("lead_costs.cost_per_lead / deliveries.recipients") }}) as double
        ) as spend,
        cast(sum({{ exact("outcomes.amount") }}) as double) as funded_amount,
        cast(sum({{ exact("outcomes.annual_yield") }}) as double) as annual_yield,
        min(outcomes.currency) as first_currency,
        max(outcomes.currency) as last_currency

    from deliveries
    inner join lead_costs
        on
            deliveries.channel_id = lead_costs.channel_id
            and deliveries.campaign_id = lead_costs.campaign_id
            and deliveries.cohort = lead_costs.cohort
    left join outcomes
        on
            deliveries.channel_id = outcomes.channel_id
            and deliveries.lead_id = outcomes.lead_id
            and deliveries.institution_id = outcomes.institution_id
            and deliveries.product_id = outcomes.product_id
    group by
        deliveries.channel_id, deliveries.campaign_id, deliveries.cohort,
        deliveries.institution_id, deliveries.product_id

),

spend_without_leads as (

    select spend.*
    from spend
    left join campaigns
        on
            spend.channel_id = campaigns.channel_id
            and spend.cohort = campaigns.cohort
            and (spend.campaign_id = campaigns.campaign_id or spend.campaign_id = '')
    where campaigns.channel_id is null

),

together as (

    select * from costs
    union all
    select
        channel_id,
        campaign_id,
        cohort,
        null as institution_id,
        null as product_id,
        0 as leads,
        0 as lead_share,
        0 as delivered,
        0 as approved,
        0 as funded,
        cast(spend as double) as spend,
        null as funded_amount,
        null as annual_yield,
        null as first_currency,
        null as last_currency
    from spend_without_leads

)

select
    together.channel_id,
    together.campaign_id,
    together.cohort,
    together.institution_id,
    together.product_id,
    together.leads,
    together.lead_share,
    together.delivered,
    together.approved,
    together.funded,
    together.spend,
    currencies.currency,
    together.spend / nullif(together.lead_share, 0) as cost_per_lead,
    together.spend / nullif(together.approved, 0) as cost_per_approval,
    together.spend / nullif(together.funded, 0) as cost_per_funded,
    case
        when together.first_currency = together.last_currency then together.last_currency
    end as loan_currency,
    case
        when together.first_currency = together.last_currency then together.funded_amount
    end as funded_amount,
    case
        when together.first_currency = together.last_currency then together.annual_yield
    end as annual_yield,
    case
        when
            together.first_currency = together.last_currency
            and together.last_currency = currencies.currency
            then together.spend / nullif(together.annual_yield, 0)
    end as share_of_yield

from together
left join currencies
    on together.channel_id = currencies.channel_id and together.cohort = currencies.cohort
