-- One row per institution and date on which its reported approval rate has changed suddenly: beyond
-- chance and by a factor, and nobody has confirmed it. Its outcomes of that date don't count.
--
-- The decisions of the date, and of a window of days up to it, are compared with the accepted
-- decisions before: a usual week hides a single date, and a small date hides what a week shows. A
-- date with a sudden change adds nothing to what later dates are compared with. A confirmed one
-- becomes it. Only outcomes of deliveries are compared: history was made by other matching.
--
-- A lender without enough accepted decisions has no rate of its own to compare with. Its decisions
-- are compared with the number of approvals that was predicted for the same matches. Predictions
-- count from a week after the platform had enough decisions to train on, because the weekly models
-- before are stated priors. Once somebody has confirmed a change of the lender, its predictions no
-- longer count.

with recursive predictions as (

    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        max(matched_on) as matched_on,
        max_by(p_approve, matched_on) as p_approve
    from {{ ref("stg_published__matches") }}
    where p_approve is not null
    group by channel_id, lead_id, institution_id, product_id

),

trained as (

    select min(known_on) as known_on
    from (
        select
            known_on,
            sum(count(*)) over (order by known_on) as decisions
        from {{ ref("int_outcomes__judged") }}
        where unlinked_reason is null and event in ('approved', 'declined', 'funded')
        group by known_on
    ) as platform
    where decisions >= {{ var("sudden_trained_decisions") }}

),

decisions as (

    select
        decided.institution_id,
        decided.known_on,
        count(*) as decisions,
        sum(decided.is_approved) as approvals,
        count(predictions.p_approve) as predicted_decisions,
        coalesce(sum(decided.is_approved) filter (where predictions.p_approve is not null), 0)
            as predicted_decisions_approved,
        coalesce(sum({{ exact("predictions.p_approve") }}), 0) as expected_approvals

    from (
        select
            channel_id,
            lead_id,
            institution_id,
            product_id,
            known_on,
            cast(max_by(event, (recorded_at, event_at, event)) <> 'declined' as integer)
                as is_approved
        from {{ ref("int_outcomes__judged") }}
        where
            unlinked_reason is null
            and not is_history
            and event in ('approved', 'declined', 'funded')
        group by channel_id, lead_id, institution_id, product_id, known_on
    ) as decided
    cross join trained
    left join predictions
        on
            decided.channel_id = predictions.channel_id
            and decided.lead_id = predictions.lead_id
            and decided.institution_id = predictions.institution_id
            and decided.product_id = predictions.product_id
            and predictions.matched_on >= {{ add_days("trained.known_on", 7) }}
    group by decided.institution_id, decided.known_on

),

confirmed as (

    select distinct
        decisions.institution_id,
        decisions.known_on
    from decisions
    inner join {{ ref("stg_policy__confirmed_changes") }} as changes
        on
            decisions.institution_id = changes.institution_id
            and decisions.known_on between changes.valid_from and changes.valid_to

),

windows as (

    select
        decisions.institution_id,
        decisions.known_on,
        decisions.decisions,
        decisions.approvals,
        decisions.predicted_decisions,
        decisions.predicted_decisions_approved,
        decisions.expected_approvals,
        confirmed.known_on is not null as is_confirmed,
        sum(decisions.decisions) over recent as window_decisions,
        sum(decisions.approvals) over recent as window_approvals,
        row_number() over (
            partition by decisions.institution_id order by decisions.known_on
        ) as position

    from decisions
    left join confirmed
        on
            decisions.institution_id = confirmed.institution_id
            and decisions.known_on = confirmed.known_on
    window
        recent as (
            partition by decisions.institution_id
            order by decisions.known_on
            range between interval ({{ var("sudden_window_days") | int - 1 }}) day preceding
            and current row
        )

),

compared as (

    select
        institution_id,
        cast(null as date) as known_on,
        cast(0 as bigint) as position,
        cast(0 as double) as reference_decisions,
        cast(0 as double) as reference_approvals,
        cast(0 as double) as predicted_decisions,
        cast(0 as double) as predicted_decisions_approved,
        cast(0 as double) as expected_approvals,
        false as was_confirmed,
        cast(null as varchar) as compared_with,
        cast(0 as double) as earlier_decisions,
        cast(null as double) as earlier_rate,
        cast(0 as double) as reported_decisions,
        cast(null as double) as reported_rate
    from windows
    where position = 1

    union all

    select
        institution_id,
        known_on,
        position,
        case
            when not is_change then reference_decisions + decisions
            when is_confirmed then decisions
            else reference_decisions
        end as reference_decisions,
        case
            when not is_change then reference_approvals + approvals
            when is_confirmed then approvals
            else reference_approvals
        end as reference_approvals,
        case when is_change then earlier_predicted else predicted_decisions end
            as predicted_decisions,
        case when is_change then earlier_predicted_approved else predicted_decisions_approved end
            as predicted_decisions_approved,
        case when is_change then earlier_expected else expected_approvals end as expected_approvals,
        was_confirmed or (is_change and is_confirmed) as was_confirmed,
        case
            when not is_change or is_confirmed then null
            when is_day_change or is_window_change then 'earlier decisions'
            else 'predictions'
        end as compared_with,
        case
            when is_day_change or is_window_change then reference_decisions
            else predicted_decisions
        end as earlier_decisions,
        case
            when is_day_change or is_window_change then reference_approvals / reference_decisions
            else expected_approvals / nullif(predicted_decisions, 0)
        end as earlier_rate,
        case
            when is_day_change then decisions
            when is_window_change then window_decisions
            else predicted_decisions
        end as reported_decisions,
        case
            when is_day_change then approvals / decisions
            when is_window_change then window_approvals / window_decisions
            else predicted_decisions_approved / nullif(predicted_decisions, 0)
        end as reported_rate

    from (
        select
            *,
            is_day_change or is_window_change or is_far_from_predictions as is_change
        from (
            select
                *,
                {{ is_sudden_change(
                    "approvals", "decisions", "reference_approvals", "reference_decisions"
                ) }} as is_day_change,
                {{ is_sudden_change(
                    "window_approvals", "window_decisions",
                    "reference_approvals", "reference_decisions"
                ) }} as is_window_change,
                not was_confirmed
                and reference_decisions < {{ var("sudden_reference_decisions") }}
                and {{ is_far_from_predictions(
                    "predicted_decisions_approved", "predicted_decisions", "expected_approvals"
                ) }} as is_far_from_predictions
            from (
                select
                    windows.institution_id,
                    windows.known_on,
                    windows.position,
                    cast(windows.decisions as double) as decisions,
                    cast(windows.approvals as double) as approvals,
                    windows.is_confirmed,
                    cast(windows.window_decisions as double) as window_decisions,
                    cast(windows.window_approvals as double) as window_approvals,
                    compared.reference_decisions,
                    compared.reference_approvals,
                    compared.was_confirmed,
                    compared.predicted_decisions as earlier_predicted,
                    compared.predicted_decisions_approved as earlier_predicted_approved,
                    compared.expected_approvals as earlier_expected,
                    compared.predicted_decisions
                    + cast(windows.predicted_decisions as double) as predicted_decisions,
                    compared.predicted_decisions_approved
                    + cast(windows.predicted_decisions_approved as double)
                        as predicted_decisions_approved,
                    compared.expected_approvals
                    + cast(windows.expected_approvals as double) as expected_approvals
                from compared
                inner join windows
                    on
                        compared.institution_id = windows.institution_id
                        and compared.position + 1 = windows.position
            ) as summed
        ) as tested
    ) as judged

)

select
    institution_id,
    known_on,
    compared_with,
    cast(earlier_decisions as bigint) as earlier_decisions,
    earlier_rate,
    cast(reported_decisions as bigint) as reported_decisions,
    reported_rate

from compared
where compared_with is not null
