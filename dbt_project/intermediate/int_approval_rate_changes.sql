-- One row per institution and date on which its reported approval rate has changed suddenly: beyond
-- chance and by a factor, and nobody has confirmed it. Its outcomes of that date don't count.
--
-- The decisions of the date, and of a window of days up to it, are compared with the accepted
-- decisions before: a usual week hides a single date, and a small date hides what a week shows. A
-- date with a sudden change adds nothing to what later dates are compared with. A confirmed one
-- becomes it. Only outcomes of deliveries are compared: history was made by other matching.

with recursive decisions as (

    select
        institution_id,
        known_on,
        count(*) as decisions,
        sum(is_approved) as approvals

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
    group by institution_id, known_on

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
        known_on,
        position,
        cast(decisions as double) as reference_decisions,
        cast(approvals as double) as reference_approvals,
        cast(0 as double) as earlier_decisions,
        cast(0 as double) as earlier_approvals,
        cast(decisions as double) as reported_decisions,
        cast(approvals as double) as reported_approvals,
        false as is_sudden
    from windows
    where position = 1

    union all

    select
        judged.institution_id,
        judged.known_on,
        judged.position,
        case
            when judged.is_change and judged.is_confirmed then judged.decisions
            when judged.is_change then judged.reference_decisions
            else judged.reference_decisions + judged.decisions
        end as reference_decisions,
        case
            when judged.is_change and judged.is_confirmed then judged.approvals
            when judged.is_change then judged.reference_approvals
            else judged.reference_approvals + judged.approvals
        end as reference_approvals,
        judged.reference_decisions as earlier_decisions,
        judged.reference_approvals as earlier_approvals,
        case when judged.is_day_change then judged.decisions else judged.window_decisions end
            as reported_decisions,
        case when judged.is_day_change then judged.approvals else judged.window_approvals end
            as reported_approvals,
        judged.is_change and not judged.is_confirmed as is_sudden

    from (
        select
            *,
            is_day_change or is_window_change as is_change
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
                {{ is_sudden_change(
                    "windows.approvals", "windows.decisions",
                    "compared.reference_approvals", "compared.reference_decisions"
                ) }} as is_day_change,
                {{ is_sudden_change(
                    "windows.window_approvals", "windows.window_decisions",
                    "compared.reference_approvals", "compared.reference_decisions"
                ) }} as is_window_change
            from compared
            inner join windows
                on
                    compared.institution_id = windows.institution_id
                    and compared.position + 1 = windows.position
        ) as tested
    ) as judged

)

select
    institution_id,
    known_on,
    cast(earlier_decisions as bigint) as earlier_decisions,
    earlier_approvals / earlier_decisions as earlier_rate,
    cast(reported_decisions as bigint) as reported_decisions,
    reported_approvals / reported_decisions as reported_rate

from compared
where is_sudden
