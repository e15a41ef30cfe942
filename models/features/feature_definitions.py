"""What each feature means, in the words of whoever defined it."""

from collections.abc import Iterable
from functools import cache

import yaml

from models.params import params
from pipelines.core.settings import PROJECT

MARTS = PROJECT / "dbt_project" / "marts" / "_marts.yml"

OF_PAIRS = {
    "institution_evidence": "Decisions of the institution known before, over 20; 1 at most.",
    "product_evidence": "Decisions on the product known before, over 20; 1 at most.",
    "amount_to_max": "Amount asked for over the most that the product lends.",
    "amount_to_min": "Amount asked for over the least that the product lends.",
    "term_to_max": "Term asked for over the product's longest.",
    "payment_to_income": "Level payment a month at the product's highest cost, over the income.",
    "payment_to_revenue": "Payments of a year at the product's highest cost, over the revenue.",
    "register_approval_rate": "Share approved by a public register, (approvals + 1) / (all + 2).",
    "pd": "Probability of default that the risk model gives.",
}
"""Features that `models/features/encoder.py` computes of a pair's columns."""


def definitions(features: Iterable[str]) -> dict[str, str]:
    """Return feature -> what it means; empty where nobody said."""
    said = _of_marts() | OF_PAIRS | _of_effects()
    return {name: said.get(name, "") for name in features}


def _of_effects() -> dict[str, str]:
    """Return effect of lenders -> whose it is."""
    return {
        level.name: f"Shift of the log-odds by {' and '.join(level.of)}, shrunken, beyond "
        f"{'the margin and ' + level.below if level.below else 'the margin'}."
        for level in params().effects.levels
    }


@cache
def _of_marts() -> dict[str, str]:
    """Return column of the marts -> its description there."""
    stated = yaml.safe_load(MARTS.read_text("utf-8"))["anchors"]
    return {column["name"]: column["description"] for column in stated if "name" in column}
