"""What became of matches, as far as institutions have told: the last word on each."""

import duckdb

RESULTS = """
    create or replace view results as
    with

    reported as (
        select matches.match_id, event, event_at, recorded_at, amount, apr, currency
        from outcomes join matches using (match_id, institution_id)
        union all
        select matches.match_id, event, event_at, recorded_at, amount, apr, currency
        from outcomes join matches using (channel_id, lead_id, institution_id, product_id)
        where not exists (
            from matches as named
            where named.match_id = outcomes.match_id
            and named.institution_id = outcomes.institution_id
        )
    ),

    ended as (
        select
            match_id,
            bool_or(event = 'funded') as is_funded,
            bool_or(event = 'overdue_90') as is_overdue,
            arg_max(event, (recorded_at, event_at, event)) filter (
                event in ('approved', 'declined')
            ) as decision,
            arg_max(
                struct_pack(lent := amount * exchange_rate, apr := apr),
                (recorded_at, event_at, amount, apr)
            ) filter (event = 'funded') as loan
        from reported left join exchange_rates using (currency)
        group by match_id
    )

    select
        matches.match_id, matches.channel_id, matches.lead_id,
        matches.institution_id, matches.product_id,
        decision is not null or coalesce(is_funded, false) as is_decided,
        coalesce(is_funded, false) as is_funded,
        coalesce(is_funded or decision = 'approved', false) as is_approved,
        coalesce(is_funded and is_overdue, false) as is_defaulted,
        case
            when is_funded then coalesce(loan.lent, leads.amount * exchange_rate) else 0
        end as lent,
        coalesce(loan.apr, matches.suggested_apr) as apr
    from matches
    join products using (institution_id, product_id)
    join leads using (channel_id, lead_id)
    left join ended using (match_id)
"""


def create_results_view(connection: duckdb.DuckDBPyConnection) -> None:
    """Create view `results`: one row per match; `lent` in the base currency, 0 if nothing was.

    An outcome belongs to the match that it names, if that is its institution's, else to that of
    its lead and product. Of several that contradict each other the last recorded counts; where a
    funded loan's amount or rate isn't said, it is what the lead asked for and the match suggested.
    A match whose answer isn't known yet counts as not approved.

    Args:
        connection: With the tables `matches`, `leads`, `products` (with `exchange_rate`), `rates`
            and `outcomes` as far as they are to be known.
    """
    connection.execute(RESULTS)
