"""What the scorecard's page says beyond the figures: the way to a loan, the weeks, the models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from models.champion import registry
from pipelines.core.arrays import FloatArray
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.figures import Figures, Sums
from pipelines.evaluation.scorecard.lead_totals import DaySums, together

WEEK = 7
"""Days that are taken together at the beginning and at the end, where they don't overlap."""


@dataclass(frozen=True)
class Stage:
    """A station between what the channels are paid and a loan."""

    name: str
    count: float
    cost: float | None
    """Of one: all that the channels were paid, over those that came so far."""


@dataclass(frozen=True)
class Step:
    """A part of what a funded loan costs: paid for leads that came so far and no further."""

    name: str
    start: float
    cost: float


@dataclass(frozen=True)
class ScoringModel:
    """One model of a set that scored the days."""

    name: str
    is_prior: bool
    reason: str
    """Why a stated prior is used; empty for a trained model."""
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


def stages(days: Sequence[DaySums], policy: str) -> list[Stage]:
    """Return the way from spend to a funded loan under one policy."""
    sums = [day.by_policy[policy] for day in days]
    cost = sum(float(of_day["cost"].sum()) for of_day in sums)
    counts = {
        "Leads": float(sum(of_day["cost"].size for of_day in sums)),
        "Leads with an offer": float(sum(np.count_nonzero(of_day["shown"]) for of_day in sums)),
        "Offers shown": sum(float(of_day["shown"].sum()) for of_day in sums),
        "Approved": sum(float(of_day["approved"].sum()) for of_day in sums),
        "Funded": sum(float(of_day["funded"].sum()) for of_day in sums),
    }
    return [Stage(name, count, cost / count if count else None) for name, count in counts.items()]


def waterfall(days: Sequence[DaySums], policy: str) -> list[Step]:
    """Return the parts of what a funded loan costs; nothing where none is funded.

    A lead takes one loan at most, so each is expected to end at one of four places, and the parts
    add up to the cost per funded loan.
    """
    sums = [day.by_policy[policy] for day in days]

    def paid(share_of: Callable[[Sums], FloatArray]) -> float:
        return sum(float((of_day["cost"] * share_of(of_day)).sum()) for of_day in sums)

    funded = sum(float(of_day["funded"].sum()) for of_day in sums)
    parts = {
        "Leads that took a loan": paid(lambda of: of["funded"]),
        "Approved, took none": paid(lambda of: of["approved_somewhere"] - of["funded"]),
        "Shown, approved nowhere": paid(lambda of: (of["shown"] > 0) - of["approved_somewhere"]),
        "Shown no offer": paid(lambda of: np.asarray(of["shown"] == 0, np.float64)),
    }
    ends = np.cumsum([0.0, *parts.values()])
    return [
        Step(name, float(start) / funded, cost / funded)
        for (name, cost), start in zip(parts.items(), ends, strict=False)
        if funded
    ]


def first_and_last(days: Sequence[DaySums]) -> Mapping[str, dict[str, Figures]]:
    """Return the figures of the first and the last week; nothing where they would overlap."""
    if len(days) < 2 * WEEK:
        return {}
    return {"first": together(days[:WEEK]), "last": together(days[-WEEK:])}


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
