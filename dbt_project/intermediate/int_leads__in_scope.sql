-- One row per lead whose features are needed: the leads of the business date, and the leads with a
-- known outcome. History is never computed for any other lead or date.

with leads as (

    select * from {{ ref("stg_lake__leads") }}

),

answered as (

    select distinct
        channel_id,
        lead_id
    from {{ ref("int_pairs") }}

),

in_scope as (

    select leads.*

    from leads
    left join answered
        on
            leads.channel_id = answered.channel_id
            and leads.lead_id = answered.lead_id
    where
        leads.business_date = {{ run_day() }}
        or answered.lead_id is not null

)

select * from in_scope
