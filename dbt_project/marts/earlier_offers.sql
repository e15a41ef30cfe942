-- One row per lead of the business date and product that its person, or its phone, was matched with
-- in the days before: what should not be shown again yet, and who may have a claim on the person.

with matches as (

    select * from {{ ref("stg_published__matches") }}
    where matched_on >= {{ add_days(run_day(), - (var("earlier_offer_days") | int)) }}

),

persons as (

    select * from {{ ref("int_persons") }}

),

links as (

    select * from {{ ref("int_persons__links") }}
    where shares_offers

),

matched as (

    select
        persons.person_key,
        persons.phone_key,
        matches.institution_id,
        matches.product_id,
        max(matches.matched_on) as offered_on

    from matches
    inner join persons
        on matches.channel_id = persons.channel_id and matches.lead_id = persons.lead_id
    group by persons.person_key, persons.phone_key, matches.institution_id, matches.product_id

),

leads_of_the_day as (

    select * from persons
    where business_date = {{ run_day() }}

),

offers as (

    select
        leads_of_the_day.channel_id,
        leads_of_the_day.lead_id,
        matched.institution_id,
        matched.product_id,
        matched.offered_on

    from leads_of_the_day
    inner join links
        on leads_of_the_day.person_key = links.person_key
    inner join matched
        on links.linked_person_key = matched.person_key
    union all
    select
        leads_of_the_day.channel_id,
        leads_of_the_day.lead_id,
        matched.institution_id,
        matched.product_id,
        matched.offered_on

    from leads_of_the_day
    inner join matched
        on leads_of_the_day.phone_key = matched.phone_key

)

select
    channel_id,
    lead_id,
    institution_id,
    product_id,
    max(offered_on) as offered_on

from offers
group by channel_id, lead_id, institution_id, product_id
