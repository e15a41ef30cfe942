"""The meaning of each feature: of the table that the models read, or as it is computed here."""

from collections.abc import Iterable

from expectations.tables import load_tables
from models.params import params

TRAINING_TABLE = "training_pairs"
"""The mart that the models read: a column's meaning is that of this table."""

COMPUTED = {
    "institution_evidence": "Decisions of the institution known before, over 20; at most 1.",
    "product_evidence": "Decisions on the product known before, over 20; at most 1.",
    "amount_to_max": "Requested amount over the largest amount that the product lends.",
    "amount_to_min": "Requested amount over the smallest amount that the product lends.",
    "term_to_max": "Requested term over the longest term of the product.",
    "payment_to_income": "Level monthly payment at the product's highest cost, over income.",
    "payment_to_revenue": "Payments of a year at the product's highest cost, over annual revenue.",
    "register_approval_rate": "Share approved by a public register, (approvals + 1) / (all + 2).",
    "pd": "Probability of default that the risk model gives.",
}
"""Features that `models/features/encoder.py` computes, and the output of the risk model."""


def describe_features(names: Iterable[str]) -> dict[str, str]:
    """Return feature -> its meaning; empty where none is stated."""
    columns = load_tables("marts")[TRAINING_TABLE]
    stated = {name: column.description for name, column in columns.items()}
    meanings = stated | COMPUTED | _describe_lender_effects()
    return {name: meanings.get(name, "") for name in names}


def _describe_lender_effects() -> dict[str, str]:
    """Return lender effect -> its meaning."""
    return {
        level.name: f"Effect of {' and '.join(level.columns)} on the log-odds, shrunken, beyond "
        f"{'the base margin and ' + level.parent if level.parent else 'the base margin'}."
        for level in params().lender_effects.levels
    }
