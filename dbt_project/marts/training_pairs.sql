-- One row per pair (a lead at an institution's product) of which an outcome is known, with what was
-- known of both on the lead's business date: the training data of the models. Price and rank are of
-- the offer that Banyan made; empty for a pair without an offer of Banyan.

with pairs as (

    select * from {{ ref("int_pairs") }}

),

leads as (

    select * from {{ ref("lead_features") }}

),

products as (

    select * from {{ ref("int_products__versions") }}

),

institutions as (

    select * from {{ ref("int_institutions__versions") }}

),

institution_history as (

    select * from {{ ref("feat_institutions") }}

),

product_history as (

    select * from {{ ref("feat_products") }}

),

matches as (

    select * from {{ ref("stg_published__matches") }}

),

described as (

    select
        pairs.channel_id,
        pairs.lead_id,
        pairs.institution_id,
        pairs.product_id,
        pairs.business_date,
        leads.segment,
        {{- from_alias("leads", lead_features()) }},
        institutions.institution_kind,
        institutions.register_applications as institution_register_applications,
        institutions.register_approvals as institution_register_approvals,
        institutions.total_assets as institution_total_assets,
        products.amount_min,
        products.amount_max,
        products.term_min_months,
        products.term_max_months,
        products.apr_min,
        products.apr_max,
        products.pd_min,
        products.pd_max,
        products.price_model,
        products.price,
        products.daily_quota,
        products.daily_budget,
        institution_history.decisions as institution_decisions,
        institution_history.approval_rate as institution_approval_rate,
        institution_history.approval_rate_90d as institution_approval_rate_90d,
        institution_history.funded_rate as institution_funded_rate,
        institution_history.lent_share_of_month as institution_lent_share_of_month,
        {{ days_to_month_end("pairs.business_date") }} as days_to_month_end,
        product_history.decisions as product_decisions,
        product_history.approval_rate as product_approval_rate,
        product_history.funded_rate as product_funded_rate,
        matches."rank",
        matches.suggested_apr

    from pairs
    inner join leads
        on pairs.channel_id = leads.channel_id and pairs.lead_id = leads.lead_id
    {{ as_of_join(
        "products", "products", "pairs", ["institution_id", "product_id"], "business_date"
    ) }}
    {{ as_of_join(
        "institutions", "institutions", "pairs", ["institution_id"], "business_date"
    ) }}
    inner join institution_history
        on
            pairs.institution_id = institution_history.institution_id
            and pairs.business_date = institution_history.business_date
    inner join product_history
        on
            pairs.institution_id = product_history.institution_id
            and pairs.product_id = product_history.product_id
            and pairs.business_date = product_history.business_date
    left join matches
        on
            pairs.channel_id = matches.channel_id
            and pairs.lead_id = matches.lead_id
            and pairs.institution_id = matches.institution_id
            and pairs.product_id = matches.product_id

)

select * from described
