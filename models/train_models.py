"""Train the model set of a week: risk, approval and take-up, checked and calibrated out of time.

Whoever is trained is a challenger; `models/champion/decision.py` says whether it takes the champion's
place.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models.champion import decision, registry
from models.champion.decision import Seat
from models.champion.evaluation import Contest
from models.champion.evaluation_window import learned_from, least_age, newly_known
from models.champion.registry import Champion, Entry
from models.explanations.fidelity import of_a_sample
from models.leakage import check
from models.params import Features, params
from models.scoring.estimators import Estimator, Prior
from models.training.dataset import anchor
from models.training.fit_model import TooLittle, fit
from models.validation import splits
from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings

FIRST_LEARNED = "approval"
"""The model whose labels come first: decisions are known within days."""

COMPARED_WITH_PRIOR = "risk"
"""The model whose prior may know better. That of take-up is one rate, which any model must beat;
that of approval asks for a risk, which examples do not have."""

WEEKLY = {"trigger": "weekly"}
YOUNG = {"trigger": "young market"}

WorthOf = Callable[[str, date, Estimator, date], tuple[str, str]]
"""As `contest.Worth`, of any model at any anchor: their names come first."""


def train(
    settings: Settings,
    day: date,
    *,
    as_of: date | None = None,
    because: Mapping[str, Any] | None = None,
    worth: WorthOf | None = None,
) -> dict[str, Any]:
    """Train a challenger for each model from the marts of `day`, and publish who serves.

    Args:
        settings: Where the home is.
        day: A business date whose marts are published.
        as_of: The set's name, on or before `day`; without it `anchor(day)`.
        because: What caused the training, with its figures; without it the week.
        worth: What the log of trials says of a challenger; without it nothing.

    Returns:
        `as_of` and, by model that serves, its source (model or prior) and headline figures.

    Raises:
        InputMissing: The marts of `day` are not published.
        BanyanError: A challenger is refused before it is trained, and there is no champion.
    """
    as_of = as_of or anchor(day)
    champions = registry.champions_before(settings, as_of)
    seats = {}
    for name in params().models:
        seats[name] = _seat(settings, day, name, champions.get(name), as_of, worth)
    registry.save(
        settings,
        as_of,
        {name: seat.entry for name, seat in seats.items()},
        refused={name: seat.refused for name, seat in seats.items() if seat.refused},
        said={
            "because": dict(because or WEEKLY),
            "decisions": {name: seat.decision for name, seat in seats.items()},
        },
    )
    return headlines(settings, as_of)


def _seat(
    settings: Settings,
    day: date,
    model: str,
    champion: Champion | None,
    as_of: date,
    worth: WorthOf | None,
) -> Seat:
    """Return who serves as `model`; what is refused before it is trained leaves the champion."""
    refit = partial(fit_or_prior, model, features=params().features_of(model))
    try:
        challenger = refit(learned_from(settings, day, model, as_of=as_of))
        if champion is None:
            return decision.first(challenger, as_of)
        newly = partial(newly_known, settings, day, model, champion, as_of=as_of)
        told = partial(worth, model, as_of) if worth else None
        return decision.settle(Contest(model, champion, challenger, as_of, newly, refit, told))
    except BanyanError as refusal:
        if champion is None:
            raise
        return decision.kept(champion, as_of, [f"{refusal}"])


def ensure(settings: Settings, day: date, worth: WorthOf | None = None) -> dict[str, Any]:
    """Train what scores `day` unless the registry has it; return as `train` does.

    That is the set of the week, `anchor(day)`. In a market's first `young_days` each day has a set
    of its own, so that a new market waits for no Monday.
    """
    week = anchor(day)
    has_week = registry.has(settings, week)
    found = headlines(settings, week) if has_week else train(settings, day, worth=worth)
    if week == day or not _is_young(settings, week):
        return found
    has_own = registry.has(settings, day)
    return (
        headlines(settings, day)
        if has_own
        else train(settings, day, as_of=day, because=YOUNG, worth=worth)
    )


def _is_young(settings: Settings, as_of: date) -> bool:
    """Return whether the first lead with a decision came less than `young_days` ago."""
    first = registry.facts(settings, as_of)[FIRST_LEARNED].get("first_lead_on")
    return first is None or (as_of - date.fromisoformat(first)).days < params().young_days


def fit_or_prior(model: str, table: pa.Table, features: Features) -> Entry:
    """Return `model` trained on the examples `table`, or its prior where they are too few.

    Raises:
        LeakingFeatures: A feature knows what is known only after the outcome.
    """
    facts: dict[str, Any] = {"rows": table.num_rows, "least_age_days": least_age(table)}
    facts |= _dates(table)
    facts["leaks"] = check.require_no_leaks(model, table, features)
    try:
        rival = Prior(model, "compared") if model == COMPARED_WITH_PRIOR else None
        estimator, learned = fit(table, features, splits.in_time(table), prior=rival)
    except TooLittle as reason:
        return Entry(Prior(model, f"{reason}"), facts | {"source": "prior", "reason": f"{reason}"})
    learned["reasons"] = of_a_sample(estimator, learned["ordinary"], table)
    return Entry(estimator, facts | {"source": "model"} | learned)


def _dates(table: pa.Table) -> dict[str, str]:
    if not table.num_rows:
        return {}
    ends = pc.min_max(table["business_date"]).as_py()
    return {"first_lead_on": f"{ends['min']}", "last_lead_on": f"{ends['max']}"}


def headlines(settings: Settings, as_of: date) -> dict[str, Any]:
    """Return what `train` returns of the set of `as_of`."""
    return {"as_of": f"{as_of}"} | {
        name: {"source": facts["source"], "rows": facts["rows"]}
        | {key: facts["figures"][key] for key in ("auc", "ece") if "figures" in facts}
        for name, facts in registry.facts(settings, as_of).items()
    }
