-- One row per outcome, with the lead that it is about. `unlinked_reason` says why it does not
-- count; such an outcome trains nothing, moves no rate and shows in no words.
--
-- Two reasons concern a lender's whole report of a date, until somebody confirms it: a sudden
-- change of its approval rate, and a report of which most rows are about leads that it did not
-- receive.

with judged as (

    select * from {{ ref("int_outcomes__judged") }}

),

changes as (

    select * from {{ ref("int_approval_rate_changes") }}

),

reports as (

    select
        institution_id,
        taken_in_on,
        count(*) as outcomes,
        count(*) filter (
            where unlinked_reason in (
                'unknown_lead', 'unknown_match', 'names_no_lead', 'contradictory',
                'not_delivered', 'other_institution', 'other_product'
            )
        ) as unfounded

    from judged
    where not is_history
    group by institution_id, taken_in_on

),

confirmed_reports as (

    select distinct
        reports.institution_id,
        reports.taken_in_on
    from reports
    inner join {{ ref("stg_policy__confirmed_changes") }} as confirmed
        on
            reports.institution_id = confirmed.institution_id
            and reports.taken_in_on between confirmed.valid_from and confirmed.valid_to

),

unfounded_reports as (

    select reports.*
    from reports
    anti join confirmed_reports
        on
            reports.institution_id = confirmed_reports.institution_id
            and reports.taken_in_on = confirmed_reports.taken_in_on
    where
        reports.unfounded >= {{ var("unfounded_least_rows") }}
        and reports.unfounded >= {{ var("unfounded_least_share") }} * reports.outcomes

)

select
    judged.channel_id,
    judged.lead_id,
    judged.institution_id,
    judged.product_id,
    judged.business_date,
    judged.event,
    judged.event_at,
    judged.recorded_at,
    judged.known_at,
    judged.known_on,
    judged.taken_in_on,
    judged.amount,
    judged.apr,
    judged.currency,
    judged.reason,
    judged.file,
    judged.file_line,
    judged.landed_on,
    judged.is_history,
    case
        when judged.unlinked_reason is not null then judged.unlinked_reason
        when judged.is_history then null
        when unfounded_reports.institution_id is not null then 'unfounded_report'
        when changes.known_on is not null then 'unconfirmed_change'
    end as unlinked_reason

from judged
left join changes
    on judged.institution_id = changes.institution_id and judged.known_on = changes.known_on
left join unfounded_reports
    on
        judged.institution_id = unfounded_reports.institution_id
        and judged.taken_in_on = unfounded_reports.taken_in_on
