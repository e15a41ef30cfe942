-- What an institution owes for each match of `billable`, by what is known on `$as_of`: the charge,
-- and the credit of a match that was returned, retracted or refused. A refused file credits no
-- match that its institution itself reported as approved or funded. Money has two decimals.
-- Tables: `billable` (delivered matches with price and currency), `attributed_outcomes`, `credits`
-- (match -> reasons and dates of a credit).

with known as (

    select * from attributed_outcomes
    where known_on <= $as_of

),

decisions as (

    select
        match_id,
        arg_max(event, (recorded_at, known_at, event_at, event)) as decision,
        bool_or(event <> 'declined') as has_success
    from known
    where event in ('approved', 'declined', 'funded')
    group by match_id

),

fundings as (

    select
        match_id,
        -- DuckDB leaves out a row whose amount is null: it states none
        arg_min(amount, (known_on, known_at, recorded_at, event_at, amount)) as amount
    from known
    where event = 'funded'
    group by match_id

),

credited as (

    select
        credits.match_id,
        credits.reason
    from credits
    left join decisions on credits.match_id = decisions.match_id
    where
        credits.known_on <= $as_of
        and (credits.reason <> 'refused' or not coalesce(decisions.has_success, false))
    qualify
        row_number() over (
            partition by credits.match_id order by credits.known_on, credits.reason
        ) = 1

),

charged as (

    select
        billable.*,
        case billable.price_model
            when 'cpl' then cast(round(cast(billable.price as decimal(18, 6)), 2) as decimal(18, 2))
            when 'cpa'
                then case
                    when decisions.decision in ('approved', 'funded')
                        then cast(
                            round(cast(billable.price as decimal(18, 6)), 2) as decimal(18, 2)
                        )
                    else 0
                end
            when 'cps'
                then cast(
                    round(
                        cast(billable.price as decimal(18, 6))
                        * cast(coalesce(fundings.amount, 0) as decimal(18, 2)), 2
                    ) as decimal(18, 2)
                )
        end as charge,
        case billable.price_model
            when 'cpl' then 'lead'
            when 'cpa' then 'approved'
            else 'funded'
        end as charge_reason,
        coalesce(decisions.decision in ('approved', 'funded'), false) as is_approved,
        fundings.match_id is not null as is_funded
    from billable
    left join decisions on billable.match_id = decisions.match_id
    left join fundings on billable.match_id = fundings.match_id
    where billable.delivered_on <= $as_of

)

select
    charged.*,
    case
        when credited.match_id is not null then cast(-charged.charge as decimal(18, 2))
        else cast(0 as decimal(18, 2))
    end as credit,
    credited.reason as credit_reason
from charged
left join credited on charged.match_id = credited.match_id
