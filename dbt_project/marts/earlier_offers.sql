-- One row per lead of the business date and product that its person was matched with in the days
-- before: products that must not be shown again yet, and institutions with exclusivity.

with matches as (

    select * from {{ ref("stg_published__matches") }}
    where matched_on >= {{ add_days(run_day(), - (var("earlier_offer_days") | int)) }}

),

leads as (

    select
        channel_id,
        lead_id,
        business_date,
        person_key
    from {{ ref("stg_lake__leads") }}

),

matched as (

    select
        leads.person_key,
        matches.institution_id,
        matches.product_id,
        max(matches.matched_on) as offered_on

    from matches
    inner join leads
        on matches.channel_id = leads.channel_id and matches.lead_id = leads.lead_id
    group by leads.person_key, matches.institution_id, matches.product_id

),

leads_of_the_day as (

    select * from leads
    where business_date = {{ run_day() }}

)

select
    leads_of_the_day.channel_id,
    leads_of_the_day.lead_id,
    matched.institution_id,
    matched.product_id,
    matched.offered_on

from leads_of_the_day
inner join matched
    on leads_of_the_day.person_key = matched.person_key
