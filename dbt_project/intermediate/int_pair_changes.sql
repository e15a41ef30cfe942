-- One row per change of what is known about a pair (a lead at an institution's product): how much
-- each count of decisions, approvals and funded loans rises or falls, and on which date.
--
-- The decision on a pair is the known one with the latest `recorded_at`: an older decision that is
-- reported late changes nothing, a correction changes the counts when it is known and not before. A
-- funded loan counts as approved, whether or not its approval was reported.

with outcomes as (

    select * from {{ ref("int_outcomes__linked") }}
    where unlinked_reason is null

),

verdicts as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        known_on,
        known_at,
        recorded_at,
        event_at,
        event,
        event <> 'declined' as is_approved,
        max(recorded_at) over (
            partition by channel_id, lead_id, institution_id, product_id
            order by known_at, recorded_at, event_at, event
            rows between unbounded preceding and current row
        ) as latest_recorded_at

    from outcomes
    where event in ('approved', 'declined', 'funded')

),

effective_decisions as (

    select
        *,
        lag(is_approved) over (
            partition by channel_id, lead_id, institution_id, product_id
            order by known_at, recorded_at, event_at, event
        ) as was_approved

    from verdicts
    where recorded_at = latest_recorded_at

),

decision_changes as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        known_on,
        case when was_approved is null then 1 else 0 end as decisions,
        cast(is_approved as integer) - cast(coalesce(was_approved, false) as integer) as approvals,
        1 as verdicts,
        cast(is_approved as integer) as approving_verdicts,
        0 as fundings,
        {{ exact("0") }} as lent

    from effective_decisions
    where was_approved is null or was_approved <> is_approved

),

fundings as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        known_on,
        0 as decisions,
        0 as approvals,
        0 as verdicts,
        0 as approving_verdicts,
        1 as fundings,
        {{ exact("coalesce(amount, 0)") }} as lent

    from outcomes
    where event = 'funded'
    qualify row_number() over (
        partition by channel_id, lead_id, institution_id, product_id
        order by known_on, known_at, recorded_at, event_at, amount
    ) = 1

)

select * from decision_changes
union all
select * from fundings
