"""The model set that scored the day: out-of-time figures, stated priors, champions, decisions."""

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from expectations import policy
from models.cards.card import NAME as CARD
from models.champion import registry
from pipelines.core.errors import InputMissing
from pipelines.core.formats import share
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.core.translation import join, text, words

FIGURES = ("auc", "auc_low", "auc_high", "ks", "brier", "ece", "base_rate")
SCHEDULED = frozenset({"weekly", "young market"})
"""Triggers of a scheduled training."""


@dataclass(frozen=True)
class Model:
    """One model of the set, with its figures on later leads than it was trained on."""

    name: str
    is_prior: bool
    """True if a stated prior is used, because too few outcomes were known to train a model."""
    reason: str
    """Reason for the prior; empty for a trained model."""
    prior: str
    """The stated probabilities as text; empty for a trained model."""
    rows: int
    """Labelled pairs that were known; the model was evaluated on the latest of them."""
    rows_evaluated: int | None = None
    first_lead_on: str | None = None
    last_lead_on: str | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    ks: float | None = None
    brier: float | None = None
    ece: float | None = None
    base_rate: float | None = None
    card: str | None = None
    """Relative path from the page to the model's card; None if there is none."""


@dataclass(frozen=True)
class ChampionStatus:
    """The champion of one model, its tenure and the last decision on it."""

    model: str
    trained_as_of: str
    champion_since: str
    decision: str
    reason: str
    has_rejected_challenger: bool


@dataclass(frozen=True)
class ModelSet:
    """The models that scored the day; they were trained on outcomes known before `as_of`."""

    as_of: str | None = None
    models: tuple[Model, ...] = ()
    trigger: str = ""
    """Reason for the training: the week, a young market, or what changed."""
    is_unscheduled: bool = False
    """True if a change triggered the training before the week was over."""
    champions: tuple[ChampionStatus, ...] = ()


def load_model_set(settings: Settings, day: date) -> ModelSet:
    """Return the set that scored `day`; before anything is scored, the current one.

    Raises:
        InputMissing: No set is published that the day could have used.
    """
    as_of = _scored_by(settings, day) or registry.find_active_set(settings, day)
    folder = registry.set_folder(settings, as_of)
    manifest = read_manifest(folder)
    page = settings.day_folder(settings.reports, day)
    return ModelSet(
        as_of=f"{as_of}",
        models=tuple(
            _model(name, facts, _card(folder / name, page))
            for name, facts in sorted(manifest["models"].items())
        ),
        champions=_champions(manifest),
        **_trigger(manifest),
    )


def _scored_by(settings: Settings, day: date) -> date | None:
    """Return the model set that the day's pairs name; None if they are not published."""
    try:
        name = read_manifest(settings.day_folder(settings.pairs, day))["models"]
    except InputMissing:
        return None
    return date.fromisoformat(name.partition(":")[0])


def _card(model: Path, page: Path) -> str | None:
    card = model / CARD
    return os.path.relpath(card, page) if card.is_file() else None


def _model(name: str, facts: dict[str, Any], card: str | None) -> Model:
    figures = facts.get("figures", {})
    is_prior = facts["source"] == "prior"
    return Model(
        name=name,
        is_prior=is_prior,
        reason=facts.get("reason", ""),
        prior=_prior(name) if is_prior else "",
        rows=facts["rows"],
        rows_evaluated=figures.get("rows"),
        first_lead_on=facts.get("first_lead_on"),
        last_lead_on=facts.get("last_lead_on"),
        card=card,
        **{figure: figures.get(figure) for figure in FIGURES},
    )


def _prior(name: str) -> str:
    """Return the probabilities that the policy states for model `name`."""
    priors = policy.priors()
    if name == "risk":
        rates = sorted(band.pd for band in priors.pd)
        return text(
            "{low} to {high} by segment and bureau score",
            low=share(rates[0]),
            high=share(rates[-1]),
        )
    stated = {"approval": priors.approve, "take_up": priors.take_up}[name]
    return join(
        (join([words(segment), share(rate)], " ") for segment, rate in sorted(stated.items())), ", "
    )


def _champions(manifest: dict[str, Any]) -> tuple[ChampionStatus, ...]:
    """Return the champion of each model on which the set records a decision, by name."""
    decisions = manifest.get("decisions", {})
    rejected = manifest.get("challengers", {})
    return tuple(
        _champion(name, facts, decisions[name], has_challenger=name in rejected)
        for name, facts in sorted(manifest["models"].items())
        if name in decisions
    )


def _champion(
    name: str, facts: dict[str, Any], decision: dict[str, Any], *, has_challenger: bool
) -> ChampionStatus:
    is_retained = decision["decision"] != "promoted"
    return ChampionStatus(
        model=name,
        trained_as_of=facts["trained_as_of"],
        champion_since=facts["champion_since"],
        decision=decision["decision"],
        reason=decision["reason"],
        has_rejected_challenger=has_challenger or (is_retained and facts["source"] == "model"),
    )


def _trigger(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `ModelSet` on the trigger of the training."""
    training = manifest.get("training", {})
    trigger = training.get("trigger", "")
    figures = join(map(_figure, training.get("figures", [])))
    return {
        "trigger": join([words(trigger), figures], ": ") if figures else words(trigger),
        "is_unscheduled": bool(trigger) and trigger not in SCHEDULED,
    }


def _figure(figure: dict[str, Any]) -> str:
    name = " ".join(filter(None, (figure["model"].replace("_", "-"), figure["what"])))
    return f"{name} {figure['value']:.3g} ({figure['statistic']}, limit {figure['limit']:.3g})"
