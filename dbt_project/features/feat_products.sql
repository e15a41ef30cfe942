-- Decisions on each product before each business date. The rate of a product with little history
-- is close to its institution's.
--
-- Point in time: only what was known before the start of the business date counts.

with changes as (

    select * from {{ ref("int_pair_changes") }}

),

days as (

    select * from {{ ref("int_product_days") }}

),

history as (

    {{ known_before("changes", "days", ["institution_id", "product_id"], outcome_figures()) }}

),

institutions as (

    select * from {{ ref("feat_institutions") }}

),

featured as (

    select
        history.institution_id,
        history.product_id,
        history.business_date,
        cast(history.decisions as bigint) as decisions,
        {{ smoothed_rate("history.approvals", "history.decisions", "institutions.approval_rate") }}
            as approval_rate,
        {{ smoothed_rate("history.fundings", "history.approvals", "institutions.funded_rate") }}
            as funded_rate

    from history
    inner join institutions
        on
            history.institution_id = institutions.institution_id
            and history.business_date = institutions.business_date

)

select * from featured
