"""What the leads of a day brought under each policy, lead by lead: what the figures add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations import policy
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.evaluation.scorecard.daily_cache import DayOffers
from pipelines.evaluation.scorecard.figures import Figures, Sums, figures_of
from pipelines.evaluation.scorecard.leads import DayLeads, places
from pipelines.evaluation.scorecard.policies import POLICIES


@dataclass(frozen=True)
class DaySums:
    """The leads of a day and what became of them."""

    leads: DayLeads
    quota: int
    """Leads that all open products together would take."""
    by_policy: Mapping[str, Sums]
    offers: Mapping[str, "Offers"]
    """By policy, where the truth is known: one row per pair shown."""

    @property
    def day(self) -> date:
        """Return the business date."""
        return self.leads.day


@dataclass(frozen=True)
class Offers:
    """Pairs that a policy shows, as columns of one length; money in the base currency."""

    lead: IntArray
    """Where the lead stands among the leads of the day."""
    institution_id: NDArray[np.str_]
    cost: FloatArray
    """Its part of what the leads of the day cost, see `_cost_of_offers`."""
    funded: FloatArray
    interest: FloatArray
    """Of a year."""


def together(days: Sequence[DaySums]) -> dict[str, Figures]:
    """Return the figures of `days` taken together."""
    sums = {
        policy: {
            name: np.concatenate([day.by_policy[policy][name] for day in days]) for name in of_first
        }
        for policy, of_first in days[0].by_policy.items()
    }
    leads = sum(day.leads.cost.size for day in days)
    return figures_of(sums, leads, sum(day.quota for day in days))


def sums_by_truth(
    connection: duckdb.DuckDBPyConnection, leads: DayLeads, found: DayOffers
) -> DaySums:
    """Return what each policy brings by the truth."""
    size = leads.cost.size
    has_best = np.zeros(size)
    has_best[places(connection, leads, found.has_best)] = 1
    by_policy, offers = {}, {}
    for name in POLICIES:
        shown = found.offers.filter(pc.equal(found.offers["policy"], name))
        lead = places(connection, leads, shown)
        columns = _brought(shown)
        by_policy[name] = {
            of: np.asarray(np.bincount(lead, column, minlength=size), np.float64)
            for of, column in columns.items()
        } | {
            "cost": leads.cost,
            "has_best": has_best,
            "approved_somewhere": _somewhere(columns["approved"], lead, size),
        }
        offers[name] = Offers(
            lead=lead,
            institution_id=np.asarray(shown["institution_id"].to_pylist(), np.str_),
            cost=_cost_of_offers(leads.cost, lead),
            funded=columns["funded"],
            interest=columns["interest"],
        )
    oracle = by_policy["oracle"]["value"]
    by_policy = {name: sums | {"oracle_value": oracle} for name, sums in by_policy.items()}
    return DaySums(leads, found.quota, by_policy, offers)


def _somewhere(chance: FloatArray, lead: IntArray, leads: int) -> FloatArray:
    """Return how likely each lead has what each of its offers brings with that chance."""
    nowhere = np.ones(leads)
    np.multiply.at(nowhere, lead, 1 - chance)
    return 1 - nowhere


def _brought(shown: pa.Table) -> dict[str, FloatArray]:
    """Return what each pair brings, in expectation."""
    of = {
        name: np.asarray(shown[name].cast(pa.float64()).to_numpy(), np.float64)
        for name in (
            *("p_approve", "p_fund", "p_default", "apr", "amount", "revenue", "value"),
            "is_best",
        )
    }
    funded = of["p_approve"] * of["p_fund"]
    lent = funded * of["amount"]
    lost = of["p_default"] * policy.value().loss_given_default
    return {
        "shown": np.ones_like(funded),
        "approved": of["p_approve"],
        "funded": funded,
        "defaulted": funded * of["p_default"],
        "lent": lent,
        "interest": lent * of["apr"],
        "kept": lent * (of["apr"] - lost),
        "revenue": of["revenue"],
        "value": of["value"],
        "best_shown": of["is_best"],
    }


def _cost_of_offers(cost: FloatArray, lead: IntArray) -> FloatArray:
    """Return the part of the leads' cost that falls on each offer; the parts add up to the whole.

    A lead's offers share its cost evenly, and all offers of the day that of leads without one.
    """
    offers = np.bincount(lead, minlength=cost.size)
    without = float(cost[offers == 0].sum())
    return np.asarray(cost[lead] / offers[lead] + without / max(lead.size, 1), np.float64)
