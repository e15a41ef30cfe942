"""Results of a day under each policy, lead by lead: the input of the figures.

By the truth of a simulated market the totals are expectations; by outcomes they are counts of what
institutions have reported so far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations import policy
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.database import create_known_view, read_query, run_query
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.evaluation.counted_outcomes import create_counted_outcomes_view
from pipelines.evaluation.match_outcomes import create_match_outcomes_view
from pipelines.evaluation.scorecard.daily_cache import DayOffers
from pipelines.evaluation.scorecard.figures import LeadColumns
from pipelines.evaluation.scorecard.policies import ATTAINABLE, POLICIES
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.valuation import least_odds_sql

SQL = Path(__file__).parent / "sql"
MONEY = ("revenue", "surplus", "only_surplus", "value")
"""Columns of an offer that are added up as they are."""


@dataclass(frozen=True)
class LoadedLeads:
    """Every lead that was loaded on a day, excluded or not, ordered by key."""

    day: date
    channel_id: NDArray[np.str_]
    cost: FloatArray
    """In the base currency."""
    segment: NDArray[np.str_]
    """`consumer` or `business`."""
    income: FloatArray
    """A month's income in the base currency; NaN if it isn't known."""
    least_odds: FloatArray
    """Least odds of an approval that the policy asks for a match of the lead."""
    keys: pa.Table
    """`channel_id`, `lead_id` and the lead's position, `lead_row`."""

    def positions(self, connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> IntArray:
        """Return the position of the lead of each row.

        Args:
            connection: Where the keys are joined.
            rows: With `channel_id` and `lead_id`, each of a lead of the day.
        """
        keys = rows.select(["channel_id", "lead_id"])
        connection.register("lead_keys", self.keys)
        connection.register(
            "row_keys", keys.append_column("row_position", pa.array(np.arange(rows.num_rows)))
        )
        found = connection.sql(
            "select lead_row from row_keys join lead_keys using (channel_id, lead_id) "
            "order by row_position"
        ).fetchnumpy()
        return np.asarray(found["lead_row"], np.int64)


@dataclass(frozen=True)
class ShownOffers:
    """Pairs that a policy shows, as columns of one length; money in the base currency."""

    lead: IntArray
    """Position of the lead among the leads of the day."""
    institution_id: NDArray[np.str_]
    cost: FloatArray
    """Share of the cost of the day's leads, see `_cost_of_offers`."""
    approved: FloatArray
    funded: FloatArray
    revenue: FloatArray
    interest: FloatArray
    """In a year."""


@dataclass(frozen=True)
class DayTotals:
    """The leads of a day and their results under each policy."""

    leads: LoadedLeads
    quota: int
    """Sum of the quotas of all open products."""
    by_policy: Mapping[str, LeadColumns]
    offers: Mapping[str, ShownOffers]
    """By policy, if the truth is known: one row per pair shown."""
    lenders: Sequence[str] = ()
    """Every institution with an open product, if the truth is known."""

    @property
    def day(self) -> date:
        """Return the business date."""
        return self.leads.day


def load_lead_costs(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> LoadedLeads:
    """Return the leads of `day` with their cost.

    Raises:
        InputMissing: The day's marts are not published.
    """
    marts = settings.day_folder(settings.marts, day)
    read_manifest(marts)
    create_known_view(connection, settings, "channel_spend", date.max)
    rates = policy.currencies(day)
    connection.register(
        "currency_rates",
        pa.table({"currency": list(rates), "exchange_rate": list(rates.values())}),
    )
    files = {name: str(marts / f"{name}.parquet") for name in ("leads", "channels")}
    query = read_query(SQL / "lead_costs.sql")
    found = connection.sql(query, params={"day": day} | files).to_arrow_table()
    return LoadedLeads(
        day=day,
        channel_id=np.asarray(found["channel_id"].to_pylist(), np.str_),
        cost=np.asarray(found["lead_cost"].to_numpy(), np.float64),
        segment=np.asarray(found["segment"].to_pylist(), np.str_),
        income=np.asarray(found["income"].cast(pa.float64()).to_numpy(), np.float64),
        least_odds=_find_least_odds(connection, found, day),
        keys=found.select(["channel_id", "lead_id", "lead_row"]),
    )


def total_by_outcomes(
    connection: duckdb.DuckDBPyConnection, settings: Settings, leads: LoadedLeads
) -> DayTotals:
    """Return the results of the published matches by the outcomes known so far.

    The result of a match is defined in `pipelines/evaluation/match_outcomes.py`. A match without
    an answer counts as not approved, so the figures of recent days are low and rise.

    Args:
        connection: Where the tables of the day are created.
        settings: Where the marts are; the newest ones have the outcomes.
        leads: The leads of the day.

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
    connection.register("loaded_leads", leads.keys)
    create_counted_outcomes_view(connection, settings, date.max)
    create_match_outcomes_view(connection)
    loss = {"loss_given_default": policy.value().loss_given_default}
    found = run_query(connection, SQL / "lead_outcomes.sql", loss).fetchnumpy()
    columns = {name: np.asarray(column, np.float64) for name, column in found.items()}
    (quota,) = connection.sql("select coalesce(sum(daily_quota), 0) from products").fetchall()[0]
    return DayTotals(leads, int(quota), {"banyan": columns | {"cost": leads.cost}}, {})


def total_by_truth(
    connection: duckdb.DuckDBPyConnection, leads: LoadedLeads, day_offers: DayOffers
) -> DayTotals:
    """Return the expected results of each policy by the truth."""
    size = leads.cost.size
    has_best = np.zeros(size)
    has_best[leads.positions(connection, day_offers.has_best)] = 1
    by_policy, offers = {}, {}
    for name in POLICIES:
        shown = day_offers.offers.filter(pc.equal(day_offers.offers["policy"], name))
        lead = leads.positions(connection, shown)
        columns = _expected_columns(shown)
        by_policy[name] = {
            column: np.asarray(np.bincount(lead, values, minlength=size), np.float64)
            for column, values in columns.items()
        } | {
            "cost": leads.cost,
            "has_best": has_best,
            **_chance_of_leads(leads, lead, columns["approved"]),
            "first_is_best": _find_first_is_best(shown, lead, size),
        }
        offers[name] = ShownOffers(
            lead=lead,
            institution_id=np.asarray(shown["institution_id"].to_pylist(), np.str_),
            cost=_cost_of_offers(leads.cost, lead),
            approved=columns["approved"],
            funded=columns["funded"],
            revenue=columns["revenue"],
            interest=columns["interest"],
        )
    oracle = by_policy["oracle"]
    bounds = {
        "oracle_value": oracle["value"],
        "oracle_surplus": oracle["only_surplus"],
        "attainable_surplus": _attainable_surplus(connection, leads, day_offers),
    }
    by_policy = {name: columns | bounds for name, columns in by_policy.items()}
    lenders = day_offers.lenders["institution_id"].to_pylist()
    return DayTotals(leads, day_offers.quota, by_policy, offers, lenders)


def _find_least_odds(
    connection: duckdb.DuckDBPyConnection, lead_costs: pa.Table, day: date
) -> FloatArray:
    """Return the least odds of approval that an offer to each lead must have."""
    connection.register("lead_costs", lead_costs)
    odds = (
        f"select cast({least_odds_sql(day)} as double) from lead_costs as leads order by lead_row"
    )
    (found,) = connection.sql(odds).fetchnumpy().values()
    connection.unregister("lead_costs")
    return np.asarray(found, np.float64)


def _attainable_surplus(
    connection: duckdb.DuckDBPyConnection, leads: LoadedLeads, day_offers: DayOffers
) -> FloatArray:
    """Return the true surplus by lead under the best plan by all that columns can show."""
    planned = day_offers.offers.filter(pc.equal(day_offers.offers["policy"], ATTAINABLE))
    lead = leads.positions(connection, planned)
    surplus = planned["only_surplus"].to_numpy()
    return np.asarray(np.bincount(lead, surplus, minlength=leads.cost.size), np.float64)


def _chance_of_leads(leads: LoadedLeads, lead: IntArray, p_approve: FloatArray) -> LeadColumns:
    """Return which leads are matched, the probability of any approval, and who has hardly any."""
    none = np.ones(leads.cost.size)
    np.multiply.at(none, lead, 1 - p_approve)
    is_matched = np.bincount(lead, minlength=none.size) > 0
    return {
        "matched": is_matched.astype(np.float64),
        "approved_any": 1 - none,
        "hopeless": (is_matched & (1 - none < leads.least_odds)).astype(np.float64),
    }


def _find_first_is_best(shown: pa.Table, lead: IntArray, leads: int) -> FloatArray:
    """Return 1 for each lead whose first offer has the greatest benefit of its offers, else 0."""
    benefit, rank = (shown[name].to_numpy() for name in ("benefit", "rank"))
    greatest = np.full(leads, -np.inf)
    np.maximum.at(greatest, lead, benefit)
    is_best = np.zeros(leads)
    is_best[lead[(rank == 1) & (benefit >= greatest[lead])]] = 1
    return is_best


def _expected_columns(shown: pa.Table) -> dict[str, FloatArray]:
    """Return the expected amounts and counts of each pair shown."""
    names = ("p_approve", "p_fund", "p_default", "apr", "amount", "is_best", *MONEY)
    pair = {
        name: np.asarray(shown[name].cast(pa.float64()).to_numpy(), np.float64) for name in names
    }
    funded = pair["p_approve"] * pair["p_fund"]
    lent = funded * pair["amount"]
    lost = pair["p_default"] * policy.value().loss_given_default
    return {
        "shown": np.ones_like(funded),
        "approved": pair["p_approve"],
        "funded": funded,
        "defaulted": funded * pair["p_default"],
        "lent": lent,
        "interest": lent * pair["apr"],
        "net_interest": lent * (pair["apr"] - lost),
        "best_shown": pair["is_best"],
    } | {name: pair[name] for name in MONEY}


def _cost_of_offers(cost: FloatArray, lead: IntArray) -> FloatArray:
    """Return each offer's share of the leads' cost; the shares add up to the whole cost.

    A lead's offers share its cost equally; all offers of the day share the cost of the leads
    without an offer.
    """
    offers = np.bincount(lead, minlength=cost.size)
    without = float(cost[offers == 0].sum())
    return np.asarray(cost[lead] / offers[lead] + without / max(lead.size, 1), np.float64)
