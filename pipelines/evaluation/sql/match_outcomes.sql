-- Last known outcome of each match; `lent` in the base currency, 0 if nothing was lent.
create or replace view match_outcomes as
with

last_outcomes as (
    select
        matches.match_id,
        bool_or(outcomes.event = 'funded') as is_funded,
        bool_or(outcomes.event = 'overdue_90') as is_overdue,
        arg_max(
            outcomes.event, (outcomes.recorded_at, outcomes.event_at, outcomes.event)
        ) filter (where outcomes.event in ('approved', 'declined')) as decision,
        arg_max(
            struct_pack(
                lent := outcomes.amount * exchange_rates.exchange_rate, apr := outcomes.apr
            ),
            (outcomes.recorded_at, outcomes.event_at, outcomes.amount, outcomes.apr)
        ) filter (where outcomes.event = 'funded') as loan
    from outcomes
    inner join matches using (channel_id, lead_id, institution_id, product_id)
    left join exchange_rates using (currency)
    group by matches.match_id
)

select
    matches.match_id,
    matches.channel_id,
    matches.lead_id,
    matches.institution_id,
    matches.product_id,
    last_outcomes.decision is not null or coalesce(last_outcomes.is_funded, false) as is_decided,
    coalesce(last_outcomes.is_funded, false) as is_funded,
    coalesce(last_outcomes.is_funded or last_outcomes.decision = 'approved', false) as is_approved,
    coalesce(last_outcomes.is_funded and last_outcomes.is_overdue, false) as is_defaulted,
    case
        when last_outcomes.is_funded
            then coalesce(last_outcomes.loan.lent, leads.matched_amount * products.exchange_rate)
        else 0
    end as lent,
    coalesce(last_outcomes.loan.apr, matches.suggested_apr) as apr
from matches
inner join products using (institution_id, product_id)
inner join leads using (channel_id, lead_id)
left join last_outcomes using (match_id)
