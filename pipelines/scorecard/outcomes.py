"""What the published matches brought, by the outcomes that institutions have reported so far."""

from datetime import date

import duckdb
import numpy as np

from expectations import policy
from pipelines.known import create_known_view
from pipelines.pairs.eligibility import load_leads, load_products
from pipelines.publish import read_manifest
from pipelines.scorecard.leads import DayLeads
from pipelines.scorecard.sums import DaySums
from pipelines.settings import Settings


def sums_by_outcomes(
    connection: duckdb.DuckDBPyConnection, settings: Settings, leads: DayLeads
) -> DaySums:
    """Return what the matches of the leads' day brought.

    An outcome belongs to the match that it names, if that is its institution's, else to that of
    its lead and product. Of several that contradict each other the last recorded counts; where a
    funded loan's amount or rate isn't said, it is what the lead asked for and the match suggested.
    A match whose answer isn't known yet counts as not approved: the figures of young days are low
    and rise.

    Args:
        connection: Where the day is loaded.
        settings: Where the lake is; all that it knows of outcomes counts, whenever it came.
        leads: Those of the day.

    Raises:
        InputMissing: The day isn't matched.
    """
    marts, matches = (
        settings.of_day(root, leads.day) for root in (settings.marts, settings.matches)
    )
    read_manifest(matches)
    load_leads(connection, marts)
    load_products(connection, marts, leads.day)
    connection.read_parquet(str(matches / "matches.parquet"), hive_partitioning=False).create_view(
        "matches", replace=True
    )
    connection.register("received", leads.keys)
    create_known_view(connection, settings, "outcomes", date.max)
    lost = policy.value().loss_given_default
    found = connection.execute(_SUMS, {"lost": lost}).fetchnumpy()
    sums = {name: np.asarray(column, np.float64) for name, column in found.items()}
    (quota,) = connection.sql("select coalesce(sum(daily_quota), 0) from products").fetchall()[0]
    return DaySums(leads, int(quota), {"banyan": sums | {"cost": leads.cost}}, {})


_SUMS = """
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
        from reported left join rates using (currency)
        group by match_id
    ),

    of_matches as (
        select
            matches.channel_id, matches.lead_id, price_model,
            case price_model when 'cps' then price else price * exchange_rate end as price,
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
    ),

    of_leads as (
        select
            channel_id, lead_id,
            count(*) as shown,
            count(*) filter (is_approved) as approved,
            count(*) filter (is_funded) as funded,
            count(*) filter (is_defaulted) as defaulted,
            sum(lent) as lent,
            sum(lent * apr) as interest,
            sum(lent * (apr - case when is_defaulted then $lost else 0 end)) as kept,
            sum(
                case price_model
                    when 'cpl' then price
                    when 'cpa' then case when is_approved then price else 0 end
                    when 'cps' then price * lent
                end
            ) as revenue
        from of_matches
        group by channel_id, lead_id
    )

    select
        coalesce(shown, 0) as shown, coalesce(approved, 0) as approved,
        coalesce(funded, 0) as funded, coalesce(defaulted, 0) as defaulted,
        coalesce(lent, 0) as lent, coalesce(interest, 0) as interest,
        coalesce(kept, 0) as kept, coalesce(revenue, 0) as revenue
    from received left join of_leads using (channel_id, lead_id)
    order by lead
"""
