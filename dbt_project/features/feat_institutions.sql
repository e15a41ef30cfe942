-- Decisions of each institution before each business date.
--
-- Point in time: only what was known before the start of the business date counts.

{% set figures = outcome_figures() + [
    {"name": "recent_verdicts", "of": "verdicts", "days": var("recent_window_days")},
    {"name": "recent_approving", "of": "approving_verdicts", "days": var("recent_window_days")},
] %}

with changes as (

    select * from {{ ref("int_pair_changes") }}

),

days as (

    select distinct
        institution_id,
        business_date
    from {{ ref("int_product_days") }}

),

history as (

    {{ known_before("changes", "days", ["institution_id"], figures) }}

),

platform as (

    select * from {{ ref("feat_platform") }}

),

featured as (

    select
        history.institution_id,
        history.business_date,
        cast(history.decisions as bigint) as decisions,
        {{ smoothed_rate("history.approvals", "history.decisions", "platform.approval_rate") }}
            as approval_rate,
        -- a correction counts as a verdict of the day on which it is known: the share is at most 1
        {{ smoothed_rate(
            "history.recent_approving", "history.recent_verdicts", "platform.approval_rate"
        ) }} as approval_rate_90d,
        {{ smoothed_rate("history.fundings", "history.approvals", "platform.funded_rate") }}
            as funded_rate

    from history
    inner join platform
        on history.business_date = platform.business_date

)

select * from featured
