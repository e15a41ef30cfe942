-- One row per product in force: what the matches of its month before the business date used of its
-- monthly quota and, in expectation at today's price, of its monthly budget. A returned match that
-- was accepted uses none. The amount of an erased lead is not known: it uses the greatest one.

with matches as (

    select published.*
    from {{ ref("stg_published__matches") }} as published
    anti join {{ ref("stg_published__returns") }} as returned
        on published.match_id = returned.match_id
    where published.matched_on >= {{ month_of(run_day()) }}

),

products as (

    select * from {{ ref("int_products__versions") }}
    where is_in_force

),

leads as (

    select
        channel_id,
        lead_id,
        min(matched_amount) as amount
    from {{ ref("stg_lake__leads") }}
    where business_date >= {{ month_of(run_day()) }}
    group by channel_id, lead_id

)

select
    products.institution_id,
    products.product_id,
    count(matches.match_id) as month_leads,
    cast(coalesce(sum({{ exact(
        "case products.price_model"
        " when 'cpl' then products.price"
        " when 'cpa' then products.price * matches.p_approve"
        " when 'cps' then products.price * matches.p_approve * matches.p_fund"
        "   * coalesce(leads.amount, case when " ~ is_erased("matches.lead_id")
        ~ " then products.amount_max end)"
        " end"
    ) }}), 0) as double) as month_spend

from products
left join matches
    on
        products.institution_id = matches.institution_id
        and products.product_id = matches.product_id
left join leads
    on matches.channel_id = leads.channel_id and matches.lead_id = leads.lead_id
group by products.institution_id, products.product_id
