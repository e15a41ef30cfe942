-- Last known outcome of each match; `lent` in the base currency, 0 if nothing was lent.
create or replace view match_outcomes as
with

reported as (
    select
        matches.match_id,
        outcomes.event,
        outcomes.event_at,
        outcomes.recorded_at,
        outcomes.amount,
        outcomes.apr,
        outcomes.currency
    from outcomes
    inner join matches using (match_id, institution_id, product_id)
    union all
    select
        matches.match_id,
        outcomes.event,
        outcomes.event_at,
        outcomes.recorded_at,
        outcomes.amount,
        outcomes.apr,
        outcomes.currency
    from outcomes
    inner join matches using (channel_id, lead_id, institution_id, product_id)
    where not exists (
        select 1
        from matches as named
        where
            named.match_id = outcomes.match_id
            and named.institution_id = outcomes.institution_id
            and named.product_id = outcomes.product_id
    )
),

last_outcomes as (
    select
        reported.match_id,
        bool_or(reported.event = 'funded') as is_funded,
        bool_or(reported.event = 'overdue_90') as is_overdue,
        arg_max(
            reported.event, (reported.recorded_at, reported.event_at, reported.event)
        ) filter (where reported.event in ('approved', 'declined')) as decision,
        arg_max(
            struct_pack(
                lent := reported.amount * exchange_rates.exchange_rate, apr := reported.apr
            ),
            (reported.recorded_at, reported.event_at, reported.amount, reported.apr)
        ) filter (where reported.event = 'funded') as loan
    from reported
    left join exchange_rates using (currency)
    group by reported.match_id
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
            then coalesce(last_outcomes.loan.lent, leads.amount * products.exchange_rate)
        else 0
    end as lent,
    coalesce(last_outcomes.loan.apr, matches.suggested_apr) as apr
from matches
inner join products using (institution_id, product_id)
inner join leads using (channel_id, lead_id)
left join last_outcomes using (match_id)
