-- Leads of each channel before each business date, and their outcomes.
--
-- Point in time: only what was known before the start of the business date counts.

{% set lead_figures = [
    {"name": "leads_30d", "of": "leads", "days": var("channel_window_days")},
] %}

with leads as (

    select * from {{ ref("int_channel_lead_counts") }}

),

changes as (

    select * from {{ ref("int_pair_changes") }}

),

days as (

    select * from {{ ref("int_channel_days") }}

),

lead_history as (

    {{ known_before("leads", "days", ["channel_id"], lead_figures) }}

),

outcome_history as (

    {{ known_before("changes", "days", ["channel_id"], outcome_figures()) }}

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
        ) }} as funded_rate

    from lead_history
    inner join outcome_history
        on
            lead_history.channel_id = outcome_history.channel_id
            and lead_history.business_date = outcome_history.business_date
    inner join platform
        on lead_history.business_date = platform.business_date

)

select * from featured
