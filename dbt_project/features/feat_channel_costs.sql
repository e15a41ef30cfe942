-- Cost per lead of each channel before each business date: spend over leads of the 30 days up to
-- the last date with known spend, so a channel that bills by the month isn't free in between.
--
-- Point in time: only reports and leads known before the start of the business date count.

{% set window = var("channel_window_days") | int %}
{% set figures = [{"name": "last_spent_on", "of": "spent_on", "how": "max"}] %}

with spend as (

    select * from {{ ref("int_channel_spend_changes") }}

),

leads as (

    select * from {{ ref("int_channel_lead_counts") }}

),

days as (

    select * from {{ ref("int_channel_days") }}

),

reported as (

    {{ known_before("spend", "days", ["channel_id"], figures) }}

),

windows as (

    select
        channel_id,
        business_date,
        {{ add_days("last_spent_on", - window) }} as starts_after,
        last_spent_on as ends_on

    from reported
    -- older reports do not show the current cost of a lead
    where last_spent_on >= {{ add_days("business_date", - 2 * window) }}

),

spend_in_window as (

    select
        windows.channel_id,
        windows.business_date,
        sum(spend.spend) as spend,
        min(spend.currency) as first_currency,
        max(spend.currency) as last_currency

    from windows
    inner join spend
        on
            windows.channel_id = spend.channel_id
            and windows.business_date > spend.known_on
            and windows.starts_after < spend.spent_on
            and windows.ends_on >= spend.spent_on
    group by windows.channel_id, windows.business_date

),

leads_in_window as (

    select
        windows.channel_id,
        windows.business_date,
        sum(leads.leads) as leads

    from windows
    inner join leads
        on
            windows.channel_id = leads.channel_id
            and windows.business_date > leads.known_on
            and windows.starts_after < leads.known_on
            and windows.ends_on >= leads.known_on
    group by windows.channel_id, windows.business_date

)

select
    spend_in_window.channel_id,
    spend_in_window.business_date,
    cast(spend_in_window.spend as double) / leads_in_window.leads as cost_per_lead,
    spend_in_window.first_currency as currency

from spend_in_window
inner join leads_in_window
    on
        spend_in_window.channel_id = leads_in_window.channel_id
        and spend_in_window.business_date = leads_in_window.business_date
-- spend in several currencies has no sum: unknown, rather than wrong
where spend_in_window.first_currency = spend_in_window.last_currency
