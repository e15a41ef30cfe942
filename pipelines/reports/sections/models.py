"""The model set that scored the day: its figures out of time, or the prior that stands in."""

import os
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
from pipelines.reports.report_data import Model, ModelSet

FIGURES = ("auc", "auc_low", "auc_high", "ks", "brier", "ece", "base_rate")


def model_set(settings: Settings, day: date) -> ModelSet:
    """Return the set that scored `day`; where nothing is scored yet, the one that would.

    Raises:
        InputMissing: No set is published that the day could have used.
    """
    as_of = _scored_by(settings, day) or registry.champion(settings, day)
    models = registry.facts(settings, as_of)
    stands = registry.folder(settings, as_of)
    page = settings.day_folder(settings.reports, day)
    told = [_model(n, said, _card(stands / n, page)) for n, said in sorted(models.items())]
    return ModelSet(f"{as_of}", tuple(told))


def _card(model: Path, page: Path) -> str | None:
    """Return the way from the folder `page` to the card of a model; None where it has none."""
    card = model / CARD
    return os.path.relpath(card, page) if card.is_file() else None


def _scored_by(settings: Settings, day: date) -> date | None:
    """Return the anchor that the day's pairs name; None where they are not published."""
    try:
        name = read_manifest(settings.day_folder(settings.pairs, day))["models"]
    except InputMissing:
        return None
    return date.fromisoformat(name.partition(":")[0])


def _model(name: str, said: dict[str, Any], card: str | None) -> Model:
    figures = said.get("figures", {})
    is_prior = said["source"] == "prior"
    return Model(
        name=name,
        is_prior=is_prior,
        reason=said.get("reason", ""),
        prior=_prior(name) if is_prior else "",
        rows=said["rows"],
        rows_checked=figures.get("rows"),
        first_lead_on=said.get("first_lead_on"),
        last_lead_on=said.get("last_lead_on"),
        card=card,
        **{figure: figures.get(figure) for figure in FIGURES},
    )


def _prior(name: str) -> str:
    """Return what the policy states in place of model `name`."""
    priors = policy.priors()
    if name == "risk":
        rates = sorted(band.pd for band in priors.pd)
        return f"{share(rates[0])} to {share(rates[-1])} by segment and bureau score"
    stated = {"approval": priors.approve, "take_up": priors.take_up}[name]
    return ", ".join(f"{segment} {share(rate)}" for segment, rate in sorted(stated.items()))
