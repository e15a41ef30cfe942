"""Tables of the scorecard's page beyond the figures: funnel, cost breakdowns, weeks, models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from models.champion import registry
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.day_figures import combine_days
from pipelines.evaluation.scorecard.figures import (
    HIGH,
    LOW,
    RESAMPLES,
    SEED,
    Figures,
    LeadColumns,
)
from pipelines.evaluation.scorecard.lead_totals import DayTotals

WEEK = 7
"""Days of the first and of the last week; they are compared only if they don't overlap."""


@dataclass(frozen=True)
class FunnelStep:
    """A step from marketing spend to a funded loan."""

    name: str
    count: float
    cost: float | None
    """Total cost divided by the count."""


@dataclass(frozen=True)
class CostPart:
    """A part of the cost per funded loan: paid for leads that ended at one step."""

    name: str
    start: float
    cost: float


@dataclass(frozen=True)
class GroupCost:
    """Cost and yield of one channel."""

    name: str
    count: int
    """Leads."""
    funded: float
    cost: float
    interest: float
    low: float | None
    high: float | None
    """95% bootstrap interval over leads; None if nothing was funded, or nothing resampled."""

    @property
    def share(self) -> float | None:
        """Return the cost as a share of the yield."""
        return self.cost / self.interest if self.interest > 0 else None


@dataclass(frozen=True)
class ScoringModel:
    """One model of a set that scored the days."""

    name: str
    is_prior: bool
    reason: str
    """Reason for a stated prior; empty for a trained model."""
    rows: int
    """Outcomes known when it was trained."""
    auc: float | None


@dataclass(frozen=True)
class Retraining:
    """A model set and the first of the days that it scored."""

    position: int
    """Position of the day among all days."""
    day: date
    models: tuple[ScoringModel, ...]


@dataclass(frozen=True)
class _Rows:
    """Columns of one length: the group and the lead, among all days' leads, of each row."""

    name: NDArray[np.str_]
    lead: IntArray
    cost: FloatArray
    funded: FloatArray
    interest: FloatArray


def funnel(days: Sequence[DayTotals], policy: str) -> list[FunnelStep]:
    """Return the steps from spend to a funded loan under one policy."""
    totals = [day.by_policy[policy] for day in days]
    cost = sum(float(day["cost"].sum()) for day in totals)
    counts = {
        "Leads": float(sum(day["cost"].size for day in totals)),
        "Leads with an offer": float(sum(np.count_nonzero(day["shown"]) for day in totals)),
        "Offers shown": sum(float(day["shown"].sum()) for day in totals),
        "Approved": sum(float(day["approved"].sum()) for day in totals),
        "Funded": sum(float(day["funded"].sum()) for day in totals),
    }
    return [
        FunnelStep(name, count, cost / count if count else None) for name, count in counts.items()
    ]


def cost_waterfall(days: Sequence[DayTotals], policy: str) -> list[CostPart]:
    """Return the parts of the cost per funded loan; nothing if none is funded.

    A lead takes at most one loan, so each is expected to end at one of four steps, and the parts
    add up to the cost per funded loan.
    """
    totals = [day.by_policy[policy] for day in days]

    def paid(share: Callable[[LeadColumns], FloatArray]) -> float:
        return sum(float((day["cost"] * share(day)).sum()) for day in totals)

    funded = sum(float(day["funded"].sum()) for day in totals)
    parts = {
        "Funded": paid(lambda day: day["funded"]),
        "Approved, not taken up": paid(lambda day: day["approved_any"] - day["funded"]),
        "Shown, not approved": paid(lambda day: (day["shown"] > 0) - day["approved_any"]),
        "Without an offer": paid(lambda day: np.asarray(day["shown"] == 0, np.float64)),
    }
    starts = np.cumsum([0.0, *parts.values()])
    return [
        CostPart(name, float(start) / funded, cost / funded)
        for (name, cost), start in zip(parts.items(), starts, strict=False)
        if funded
    ]


def cost_by_channel(
    days: Sequence[DayTotals], policy: str, *, resamples: int = RESAMPLES
) -> list[GroupCost]:
    """Return the channels by name; the cost of a channel is the cost of its leads."""
    totals = [day.by_policy[policy] for day in days]
    leads = sum(day.leads.cost.size for day in days)
    rows = _Rows(
        name=np.concatenate([day.leads.channel_id for day in days]),
        lead=np.arange(leads),
        cost=np.concatenate([day["cost"] for day in totals]),
        funded=np.concatenate([day["funded"] for day in totals]),
        interest=np.concatenate([day["interest"] for day in totals]),
    )
    return _cost_by_group(rows, leads, resamples)


def _cost_by_group(rows: _Rows, leads: int, resamples: int) -> list[GroupCost]:
    names, group = np.unique(rows.name, return_inverse=True)

    def total(column: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(group, column, minlength=names.size), np.float64)

    cost, interest, funded = (total(column) for column in (rows.cost, rows.interest, rows.funded))
    count = np.bincount(group, minlength=names.size)
    random = np.random.default_rng(SEED)
    shares = np.full((resamples, names.size), np.nan)
    for resample in shares:
        draws = np.bincount(random.integers(0, max(leads, 1), leads), minlength=leads)[rows.lead]
        denominator = total(rows.interest * draws)
        np.divide(total(rows.cost * draws), denominator, out=resample, where=denominator > 0)
    known = [shares[~np.isnan(shares[:, number]), number] for number in range(names.size)]
    ends = [
        np.quantile(values, [LOW, HIGH]).tolist() if values.size else [None, None]
        for values in known
    ]
    return [
        GroupCost(
            name=str(name),
            count=int(count[at]),
            funded=float(funded[at]),
            cost=float(cost[at]),
            interest=float(interest[at]),
            low=ends[at][0],
            high=ends[at][1],
        )
        for at, name in enumerate(names)
    ]


def first_and_last_week(days: Sequence[DayTotals]) -> Mapping[str, dict[str, Figures]]:
    """Return the figures of the first and the last week; nothing if they would overlap."""
    if len(days) < 2 * WEEK:
        return {}
    return {"first": combine_days(days[:WEEK]), "last": combine_days(days[-WEEK:])}


def load_retrainings(settings: Settings, days: Sequence[date]) -> list[Retraining]:
    """Return the model sets that scored `days`, each with the first day that it scored."""
    set_names = [
        read_manifest(settings.day_folder(settings.matches, day)).get("models") for day in days
    ]
    return [
        Retraining(position, days[position], _load_models(settings, name))
        for position, (before, name) in enumerate(zip([None, *set_names], set_names, strict=False))
        if name is not None and name != before
    ]


def _load_models(settings: Settings, set_name: str) -> tuple[ScoringModel, ...]:
    as_of = date.fromisoformat(set_name.partition(":")[0])
    return tuple(
        ScoringModel(
            name=name,
            is_prior=facts["source"] == "prior",
            reason=facts.get("reason", ""),
            rows=facts["rows"],
            auc=facts.get("figures", {}).get("auc"),
        )
        for name, facts in sorted(registry.load_metadata(settings, as_of).items())
    )
