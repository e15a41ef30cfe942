-- Rates of the whole platform before each business date: the rates of channels and institutions
-- with little history are shrunken toward them.
--
-- Point in time: only what was known before the start of the business date counts.

with changes as (

    select * from {{ ref("int_pair_changes") }}

),

days as (

    select business_date from {{ ref("int_leads__in_scope") }}
    union distinct
    select {{ run_day() }} as business_date

),

history as (

    {{ known_before("changes", "days", [], outcome_figures()) }}

)

select
    business_date,
    cast(decisions as bigint) as decisions,
    {{ smoothed_rate("approvals", "decisions", var("prior_approval")) }} as approval_rate,
    {{ smoothed_rate("fundings", "approvals", var("prior_take_up")) }} as funded_rate

from history
