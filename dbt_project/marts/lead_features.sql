{{ config(materialized="view") }}
-- One row per lead in scope with every feature of it, as of the start of its business date: the
-- same columns for leads to match and for leads that models are trained on.

with leads as (

    select * from {{ ref("int_leads__in_scope") }}

),

derived as (

    select * from {{ ref("feat_leads") }}

),

supply as (

    select * from {{ ref("feat_lead_supply") }}

),

chain as (

    select * from {{ ref("feat_lead_chain") }}

),

peers as (

    select * from {{ ref("feat_peers") }}

),

channels as (

    select * from {{ ref("feat_channels") }}

),

costs as (

    select * from {{ ref("feat_channel_costs") }}

),

featured as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.business_date,
        leads.segment,
        {%- for name in lead_attributes() %}
            {{ "derived" if name == "business_age_years" else "leads" }}.{{ name }},
        {%- endfor %}
        derived.debt_to_income,
        derived.amount_to_income,
        derived.amount_to_collateral,
        derived.amount_to_revenue,
        supply.supply_buyers,
        supply.supply_sellers,
        supply.supply_sales_12m,
        supply.supply_paid_late_share,
        supply.supply_buyers_late_share,
        chain.supply_chain_code,
        {{- from_alias("chain", chain_features()) }},
        peers.arrears_rate as peers_arrears_rate,
        channels.leads_30d as channel_leads_30d,
        channels.decisions as channel_decisions,
        channels.approval_rate as channel_approval_rate,
        channels.funded_rate as channel_funded_rate,
        costs.cost_per_lead as channel_cost_per_lead

    from leads
    inner join derived
        on leads.channel_id = derived.channel_id and leads.lead_id = derived.lead_id
    left join supply
        on leads.channel_id = supply.channel_id and leads.lead_id = supply.lead_id
    left join chain
        on leads.channel_id = chain.channel_id and leads.lead_id = chain.lead_id
    left join peers
        on
            leads.segment = 'business'
            and coalesce(leads.industry, '') = peers.industry
            and coalesce(leads.region, '') = peers.region
            and leads.business_date = peers.business_date
    inner join channels
        on
            leads.channel_id = channels.channel_id
            and leads.business_date = channels.business_date
    left join costs
        on
            leads.channel_id = costs.channel_id
            and leads.business_date = costs.business_date

)

select * from featured
