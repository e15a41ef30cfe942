"""The encoder: makes the feature matrix of a table, the same in training and in scoring."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import MissingColumns
from models.features.columns import compute_by_entry, to_floats
from models.features.lender_effects import LenderEffects, fit_vocabularies
from models.params import Features, params
from pipelines.core.arrays import FloatArray

NO_EFFECTS = LenderEffects({}, ())

RELIABLE_DECISIONS = 20
"""Decisions from which on a rate counts as reliable: more would only encode the date."""


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient; nan if `denominator` is not positive or either is unknown."""
    unknown = np.full(len(numerator), np.nan)
    return np.asarray(np.divide(numerator, denominator, out=unknown, where=denominator > 0))


def monthly_payment(amount: FloatArray, apr: FloatArray, months: FloatArray) -> FloatArray:
    """Return the level payment a month, in the currency of `amount`.

    The annuity formula: amount x r / (1 - (1 + r)^-months) with r = apr / 12, which is
    amount / months for a loan without interest.
    """
    rate = apr / 12
    share = divide(rate, 1 - (1 + rate) ** -months)
    without_interest = divide(np.ones(len(months)), months)
    return amount * np.where(rate == 0, without_interest, share)


def _highest_payment(table: pa.Table) -> FloatArray:
    """Return the payment at the product's highest APR, over the requested or the longest term."""
    requested, longest = to_floats(table, "term_months"), to_floats(table, "term_max_months")
    months = np.where(np.isnan(requested), longest, requested)
    return monthly_payment(to_floats(table, "amount"), to_floats(table, "apr_max"), months)


def _evidence(table: pa.Table, decisions: str) -> FloatArray:
    """Return the reliability of a history rate, from 0 to 1."""
    return np.minimum(to_floats(table, decisions) / RELIABLE_DECISIONS, 1.0)


def _register_rate(table: pa.Table) -> FloatArray:
    """Return the approval rate in a public register, by Laplace's rule of succession."""
    approvals = to_floats(table, "institution_register_approvals")
    return (approvals + 1) / (to_floats(table, "institution_register_applications") + 2)


def _divide_columns(numerator: str, denominator: str) -> Callable[[pa.Table], FloatArray]:
    return lambda table: divide(to_floats(table, numerator), to_floats(table, denominator))


PAIR_FEATURES: dict[str, Callable[[pa.Table], FloatArray]] = {
    "institution_evidence": lambda t: _evidence(t, "institution_decisions"),
    "product_evidence": lambda t: _evidence(t, "product_decisions"),
    "register_approval_rate": _register_rate,
    "amount_to_max": _divide_columns("amount", "amount_max"),
    "amount_to_min": _divide_columns("amount", "amount_min"),
    "term_to_max": _divide_columns("term_months", "term_max_months"),
    "payment_to_income": lambda t: divide(_highest_payment(t), to_floats(t, "income_monthly")),
    "payment_to_revenue": lambda t: divide(
        12 * _highest_payment(t), to_floats(t, "revenue_annual")
    ),
}
"""Features that are computed from other columns, each a fraction without unit."""

HISTORY_RATES = (
    "institution_approval_rate",
    "institution_approval_rate_90d",
    "institution_funded_rate",
    "product_approval_rate",
    "product_funded_rate",
)
"""Rates that are unknown for a lender without decisions."""

LENDER_IDS = ("institution_id", "product_id")
LENDER_COUNTS = ("institution_decisions", "product_decisions")


def mask_lender(table: pa.Table) -> pa.Table:
    """Return `table` as if each row's lender were unseen.

    Its ids are unknown and it has no decisions; kind and terms stay.
    """
    for name in (*LENDER_IDS, *LENDER_COUNTS):
        if name in table.column_names:
            column = table.schema.field(name)
            value = 0 if name in LENDER_COUNTS else None
            blank = pa.repeat(pa.scalar(value, type=column.type), table.num_rows)
            table = table.set_column(table.column_names.index(name), column, blank)
    return table


@dataclass(frozen=True)
class Encoder:
    """The columns of the matrix, the codes of categories, and the lender effects."""

    features: Features
    categories: Mapping[str, tuple[str, ...]]
    """Column -> its known values, each coded by its position."""
    effects: LenderEffects = NO_EFFECTS
    """The source of the features that its levels name."""

    @classmethod
    def fit(cls, table: pa.Table, features: Features, *, min_rows: int) -> "Encoder":
        """Return an encoder of the categories with `min_rows` or more rows.

        It has the vocabularies of the lender effects and no effect yet: boosting estimates them.
        """
        categories = {name: _frequent_values(table[name], min_rows) for name in features.categories}
        levels = params().lender_effects.levels
        if not {level.name for level in levels} & set(features.names):
            return cls(features, categories)
        vocabularies = fit_vocabularies(table, levels, params().lender_effects.bins)
        return cls(features, categories, LenderEffects.unfitted(vocabularies, levels))

    @property
    def categorical_indexes(self) -> list[int]:
        """Positions of the categories among the columns of a matrix."""
        first = len(self.features.numbers)
        return list(range(first, first + len(self.features.categories)))

    def encode(self, table: pa.Table) -> FloatArray:
        """Return `table` as floats, shape (rows, features); nan: unknown number or category.

        Each row depends on its own values only, so rows may be split and batched freely.

        Raises:
            MissingColumns: `table` lacks columns that the features need.
        """
        effect_names = self.effect_names
        computed = set(PAIR_FEATURES) | set(effect_names)
        if absent := set(self.features.names) - computed - set(table.column_names):
            raise MissingColumns(sorted(absent))
        matrix = np.empty((table.num_rows, len(self.features.names)), order="F")
        for index, name in enumerate(self.features.names):
            if name not in effect_names:
                matrix[:, index] = self._encode_column(table, name)
        if effect_names:
            levels = [self.effects.names.index(name) for name in effect_names]
            matrix[:, self.indexes(effect_names)] = self.effects.encode(table)[:, levels]
        return matrix

    @property
    def effect_names(self) -> tuple[str, ...]:
        """The features that are lender effects, in the order of the matrix."""
        levels = self.effects.names
        return tuple(name for name in self.features.names if name in levels)

    def indexes(self, names: Iterable[str]) -> list[int]:
        """Return the positions of `names` among the columns of a matrix."""
        return [self.features.names.index(name) for name in names]

    def _encode_column(self, table: pa.Table, name: str) -> FloatArray:
        if name in PAIR_FEATURES:
            return PAIR_FEATURES[name](table)
        if name in HISTORY_RATES:
            has_decisions = to_floats(table, "institution_decisions") > 0
            return np.where(has_decisions, to_floats(table, name), np.nan)
        if name in self.categories:
            known = pa.array(self.categories[name], type=pa.string())
            return compute_by_entry(table[name], partial(_find_codes, known=known))
        return to_floats(table, name)


def _find_codes(column: pa.ChunkedArray | pa.Array, known: pa.Array) -> FloatArray:
    """Return the position of each value among the known ones; nan if it is none of them."""
    codes = pc.index_in(column, value_set=known, skip_nulls=True)
    return np.asarray(pc.cast(codes, pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _frequent_values(column: pa.ChunkedArray, min_rows: int) -> tuple[str, ...]:
    counted = pc.value_counts(column.combine_chunks())
    frequent = counted.filter(pc.greater_equal(counted.field("counts"), min_rows))
    values = frequent.field("values").to_pylist()
    return tuple(sorted(value for value in values if value is not None))
