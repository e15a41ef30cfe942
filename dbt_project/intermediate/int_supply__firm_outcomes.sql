-- One row per business and date on which something became known of its loans: how many decisions,
-- refusals, loans overdue 30 days or more, and loans overdue 90 days it was.

with leads as (

    select
        channel_id,
        lead_id,
        id_number_sha256
    from {{ ref("stg_lake__leads") }}
    where segment = 'business' and id_number_sha256 is not null

),

decisions as (

    select
        channel_id,
        lead_id,
        known_on,
        decisions,
        decisions - approvals as refusals,
        0 as arrears,
        0 as defaulted_loans
    from {{ ref("int_pair_changes") }}
    where decisions <> 0 or approvals <> 0

),

overdue as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        event = 'overdue_90' as is_default,
        min(known_on) as known_on
    from {{ ref("int_outcomes__linked") }}
    where unlinked_reason is null and event in ('overdue_30', 'overdue_60', 'overdue_90')
    group by channel_id, lead_id, institution_id, product_id, is_default

),

events as (

    select * from decisions
    union all
    select
        channel_id,
        lead_id,
        known_on,
        0 as decisions,
        0 as refusals,
        1 as arrears,
        cast(is_default as integer) as defaulted_loans
    from overdue

)

select
    leads.id_number_sha256,
    events.known_on,
    sum(events.decisions) as decisions,
    sum(events.refusals) as refusals,
    sum(events.arrears) as arrears,
    sum(events.defaulted_loans) as defaulted_loans

from events
inner join leads
    on events.channel_id = leads.channel_id and events.lead_id = leads.lead_id
group by leads.id_number_sha256, events.known_on
