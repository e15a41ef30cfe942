"""What the published matches brought, by the outcomes that institutions have reported so far."""

from datetime import date

import duckdb
import numpy as np

from expectations import policy
from pipelines.core.database import create_known_view
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.evaluation.match_outcomes import create_results_view
from pipelines.evaluation.scorecard.lead_totals import DaySums
from pipelines.evaluation.scorecard.leads import DayLeads
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products


def sums_by_outcomes(
    connection: duckdb.DuckDBPyConnection, settings: Settings, leads: DayLeads
) -> DaySums:
    """Return what the matches of the leads' day brought.

    What became of a match is what `pipelines/evaluation/match_outcomes.py` says; one whose answer isn't known yet
    counts as not approved, so the figures of young days are low and rise.

    Args:
        connection: Where the day is loaded.
        settings: Where the lake is; all that it knows of outcomes counts, whenever it came.
        leads: Those of the day.

    Raises:
        InputMissing: The day isn't matched.
    """
    marts, matches = (
        settings.day_folder(root, leads.day) for root in (settings.marts, settings.matches)
    )
    read_manifest(matches)
    load_leads(connection, marts)
    load_products(connection, marts, leads.day)
    connection.read_parquet(str(matches / "matches.parquet"), hive_partitioning=False).create_view(
        "matches", replace=True
    )
    connection.register("received", leads.keys)
    create_known_view(connection, settings, "outcomes", date.max)
    create_results_view(connection)
    lost = policy.value().loss_given_default
    found = connection.execute(_SUMS, {"lost": lost}).fetchnumpy()
    sums = {name: np.asarray(column, np.float64) for name, column in found.items()}
    (quota,) = connection.sql("select coalesce(sum(daily_quota), 0) from products").fetchall()[0]
    return DaySums(leads, int(quota), {"banyan": sums | {"cost": leads.cost}}, {})


_SUMS = """
    with

    of_matches as (
        select
            results.*, price_model,
            case price_model when 'cps' then price else price * exchange_rate end as price
        from results
        join products using (institution_id, product_id)
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
