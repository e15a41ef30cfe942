-- What a channel had brought before each business date, what became of it and what it cost.
--
-- Point in time: only what was known before the start of the business date counts.

{% set window = var("channel_window_days") %}
{% set outcome_figures = [
    {"name": "decisions", "of": "decisions"},
    {"name": "approvals", "of": "approvals"},
    {"name": "fundings", "of": "fundings"},
] %}
{% set lead_figures = [{"name": "leads_30d", "of": "leads", "days": window}] %}
{% set spend_figures = [
    {"name": "spend", "of": "spend", "days": window},
    {"name": "first_currency", "of": "currency", "how": "min", "days": window},
    {"name": "last_currency", "of": "currency", "how": "max", "days": window},
] %}

with leads_known as (

    select
        channel_id,
        {{ platform_date("known_at") }} as known_on,
        count(*) as leads

    from {{ ref("stg_leads") }}
    group by channel_id, {{ platform_date("known_at") }}

),

changes as (

    select
        channel_id,
        known_on,
        sum(decisions) as decisions,
        sum(approvals) as approvals,
        sum(fundings) as fundings

    from {{ ref("int_pair_changes") }}
    group by channel_id, known_on

),

spend_changes as (

    select * from {{ ref("int_channel_spend_changes") }}

),

days as (

    select channel_id, business_date from {{ ref("int_leads__in_scope") }}
    union distinct
    select channel_id, {{ run_day() }} as business_date from leads_known
    union distinct
    select channel_id, {{ run_day() }} as business_date from spend_changes

),

lead_history as (

    {{ known_before("leads_known", "days", ["channel_id"], lead_figures) }}

),

outcome_history as (

    {{ known_before("changes", "days", ["channel_id"], outcome_figures) }}

),

spend_history as (

    {{ known_before("spend_changes", "days", ["channel_id"], spend_figures) }}

),

platform as (

    select * from {{ ref("feat_platform") }}

),

featured as (

    select
        lead_history.channel_id,
        lead_history.business_date,
        cast(lead_history.leads_30d as bigint) as leads_30d,
        cast(outcome_history.decisions as bigint) as decisions,
        {{ smoothed_rate(
            "outcome_history.approvals", "outcome_history.decisions", "platform.approval_rate"
        ) }} as approval_rate,
        {{ smoothed_rate(
            "outcome_history.fundings", "outcome_history.approvals", "platform.funded_rate"
        ) }} as funded_rate,
        -- spend in several currencies has no sum: unknown, rather than wrong
        case
            when spend_history.first_currency = spend_history.last_currency
                then cast(spend_history.spend / nullif(lead_history.leads_30d, 0) as double)
        end as cost_per_lead,
        case
            when spend_history.first_currency = spend_history.last_currency
                then spend_history.first_currency
        end as currency

    from lead_history
    inner join outcome_history
        on
            lead_history.channel_id = outcome_history.channel_id
            and lead_history.business_date = outcome_history.business_date
    inner join spend_history
        on
            lead_history.channel_id = spend_history.channel_id
            and lead_history.business_date = spend_history.business_date
    inner join platform
        on lead_history.business_date = platform.business_date

)

select * from featured
