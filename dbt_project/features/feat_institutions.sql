-- Decisions of each institution before each business date.
--
-- Point in time: only what was known before the start of the business date counts.

{% set figures = outcome_figures() + [
    {"name": "recent_verdicts", "of": "verdicts", "days": var("recent_window_days")},
    {"name": "recent_approving", "of": "approving_verdicts", "days": var("recent_window_days")},
    {"name": "recent_lent", "of": "lent", "days": var("recent_window_days")},
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

changes_by_month as (

    select
        institution_id,
        known_on,
        {{ month_of("known_on") }} as lending_month,
        lent
    from changes

),

days_by_month as (

    select
        institution_id,
        business_date,
        {{ month_of("business_date") }} as lending_month
    from days

),

-- what was lent in the month of the business date, before it
month_so_far as (

    {{ known_before(
        "changes_by_month", "days_by_month", ["institution_id", "lending_month"],
        [{"name": "lent_this_month", "of": "lent"}]
    ) }}

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
            as funded_rate,
        -- a lender that has lent its money for the month turns away more
        cast(
            month_so_far.lent_this_month
            / nullif(history.recent_lent * 30 / {{ var("recent_window_days") }}, 0) as double
        ) as lent_share_of_month

    from history
    inner join month_so_far
        on
            history.institution_id = month_so_far.institution_id
            and history.business_date = month_so_far.business_date
    inner join platform
        on history.business_date = platform.business_date

)

select * from featured
