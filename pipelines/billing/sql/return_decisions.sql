-- The decision on each return and dispute that no earlier day decided, known by `$day`.
-- Tables: `attributed_outcomes`, `delivered`, `decided` (decisions of earlier days), `windows`
-- (reason code -> days), `people` (decisions of people on disputes).

with reported as (

    select
        match_id,
        channel_id,
        lead_id,
        institution_id,
        product_id,
        delivered_on,
        event,
        recorded_at,
        min(known_on) as known_on,
        nullif(
            lower(regexp_replace(trim(coalesce(reason, '')), '[ _-]+', '_', 'g')), ''
        ) as reason
    from attributed_outcomes
    where event in ('returned', 'disputed') and known_on <= $day
    group by all

),

fresh as (

    select reported.*
    from reported
    anti join decided
        on
            reported.match_id = decided.match_id
            and reported.event = decided.event
            and reported.recorded_at = decided.recorded_at

),

successes as (

    select distinct match_id
    from attributed_outcomes
    where event in ('approved', 'funded') and known_on <= $day

),

accepted_before as (

    select
        institution_id,
        date_trunc('month', delivered_on) as delivery_month,
        count(*) as accepted
    from decided
    where decision = 'accepted' and event = 'returned'
    group by all

),

credited as (

    select distinct match_id
    from decided
    where decision = 'accepted'

),

leads_of_month as (

    select
        institution_id,
        date_trunc('month', "date") as delivery_month,
        count(distinct match_id) as delivered
    from delivered
    where "date" <= $day
    group by all

),

judged as (

    select
        fresh.*,
        case
            when windows.code is null then 'unknown_reason'
            when
                fresh.known_on - fresh.delivered_on > case
                    when fresh.event = 'disputed' then $dispute_days
                    else windows.days
                end
                then 'too_late'
            when credited.match_id is not null then 'already_returned'
            when
                row_number() over (
                    partition by fresh.match_id, fresh.event
                    order by fresh.recorded_at, fresh.reason
                ) > 1
                then 'already_returned'
            when fresh.event = 'returned' and successes.match_id is not null
                then 'approved_or_funded'
        end as objection
    from fresh
    left join windows on fresh.reason = windows.code
    left join credited on fresh.match_id = credited.match_id
    left join successes on fresh.match_id = successes.match_id

),

placed as (

    select
        judged.*,
        row_number()
            over (
                partition by
                    judged.institution_id, date_trunc('month', judged.delivered_on), judged.event,
                    judged.objection is null
                order by judged.recorded_at, judged.match_id
            )
        + coalesce(accepted_before.accepted, 0) as place,
        greatest(
            $least_returns, floor($cap_share * coalesce(leads_of_month.delivered, 0))
        ) as cap
    from judged
    left join accepted_before
        on
            judged.institution_id = accepted_before.institution_id
            and date_trunc('month', judged.delivered_on) = accepted_before.delivery_month
    left join leads_of_month
        on
            judged.institution_id = leads_of_month.institution_id
            and date_trunc('month', judged.delivered_on) = leads_of_month.delivery_month

),

explained as (

    select
        * exclude (objection),
        case
            when objection is not null then objection
            when event = 'returned' and place > cap then 'over_cap'
        end as why
    from placed

),

-- a dispute that people decided since
open_disputes as (

    select * from decided
    where
        event = 'disputed'
        and (match_id, recorded_at) not in (
            select (closed.match_id, closed.recorded_at)
            from decided as closed
            where closed.event = 'disputed' and closed.decision <> 'open'
        )

),

every_decision as (

    select
        match_id,
        channel_id,
        lead_id,
        institution_id,
        product_id,
        delivered_on,
        event,
        reason,
        recorded_at,
        known_on,
        case
            when why is not null then 'refused'
            when event = 'disputed' then 'open'
            else 'accepted'
        end as decision,
        why
    from explained
    union all by name
    select
        match_id,
        channel_id,
        lead_id,
        institution_id,
        product_id,
        delivered_on,
        event,
        reason,
        recorded_at,
        known_on,
        'open' as decision,
        cast(null as varchar) as why
    from open_disputes

)

select
    every_decision.match_id,
    every_decision.channel_id,
    every_decision.lead_id,
    every_decision.institution_id,
    every_decision.product_id,
    strftime(every_decision.delivered_on, '%Y%m%d')
    || '-' || every_decision.institution_id as delivery_id,
    every_decision.delivered_on,
    every_decision.event,
    every_decision.reason,
    every_decision.recorded_at,
    every_decision.known_on,
    case
        when every_decision.decision = 'open' and credited.match_id is not null then 'refused'
        when every_decision.decision = 'open' then coalesce(people.decision, 'open')
        else every_decision.decision
    end as decision,
    case
        when every_decision.decision = 'open' and credited.match_id is not null
            then 'already_returned'
        when every_decision.decision = 'open' and people.decision is not null then 'by_people'
        else every_decision.why
    end as why,
    $day as decided_on
from every_decision
left join credited on every_decision.match_id = credited.match_id
left join people
    on
        every_decision.institution_id = people.institution_id
        and every_decision.match_id = people.match_id
-- an open dispute is stated once
anti join open_disputes as stated
    on
        every_decision.match_id = stated.match_id
        and every_decision.recorded_at = stated.recorded_at
        and every_decision.event = 'disputed'
        and people.decision is null
        and credited.match_id is null
order by
    every_decision.institution_id, every_decision.match_id, every_decision.event,
    every_decision.recorded_at, every_decision.reason
