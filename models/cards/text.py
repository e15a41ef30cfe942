"""What a model card says whoever trained the model: its purpose, its label and its limits."""

from collections.abc import Mapping
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from expectations.strict_model import StrictModel
from models.params import Label, params
from models.validation.backtest import FEWEST_ROWS
from pipelines.core.statistics import Z_95, sigmoid

FILE = Path(__file__).parent / "card.yml"


class Purpose(StrictModel):
    """What one model is for, and where it should not be trusted."""

    predicts: str
    used: str
    limits: tuple[str, ...]


class CardWords(StrictModel):
    """The content of `card.yml`."""

    models: dict[str, Purpose]
    labels: dict[Label, str]
    limits: tuple[str, ...]


@cache
def card_words() -> CardWords:
    """Return the words of `card.yml`."""
    return CardWords.model_validate(yaml.safe_load(FILE.read_text("utf-8")))


def purpose(model: str) -> Purpose:
    """Return what `model` is for; empty words for one that nobody described."""
    return card_words().models.get(model) or Purpose(predicts="", used="", limits=())


def label(model: str) -> str:
    """Return what a model's label is, in words."""
    spec = params().models.get(model)
    return card_words().labels[spec.label] if spec else ""


def limits(model: str, facts: Mapping[str, Any], checked: Mapping[str, Any] | None) -> list[str]:
    """Return where the model should not be trusted, from what is known of it."""
    said = [*purpose(model).limits, *card_words().limits]
    if facts.get("source") == "prior":
        said.insert(0, "No model: everybody of a band gets the same stated figure.")
    if moved := facts.get("lenders_move"):
        low, high = sigmoid(Z_95 * sqrt(moved) * np.array([-1, 1]))
        said.append(
            "Lenders change: on later leads the log-odds of a lender lay off what was said by a "
            f"standard deviation of {sqrt(moved):.2f}, which makes of 50% anything from {low:.0%} "
            f"to {high:.0%}, 19 times in 20."
        )
    if checked:
        said.append(f"Periods and groups with fewer than {FEWEST_ROWS} rows are not shown.")
        alone = [name for name, parts in checked["groups"].items() if len(parts) == 1]
        if alone:
            names = ", ".join(alone).replace("_", " ")
            said.append(f"Only one group was large enough to be checked, by: {names}.")
    return said
