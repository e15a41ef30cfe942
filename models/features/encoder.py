"""From columns to the matrix that a model sees: the same for training and for scoring."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import MissingColumns
from models.features.lender_effects import Effects, learned_words
from models.params import Features, params
from pipelines.core.arrays import FloatArray

Vocabulary = Mapping[str, tuple[str, ...]]


NO_EFFECTS = Effects({}, ())

ENOUGH_DECISIONS = 20
"""Decisions from which on a rate is as reliable as it needs to be: more tell only the date."""


def ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Return `above / below`; nan where `below` is not positive or either is unknown."""
    unknown = np.full(len(above), np.nan)
    return np.asarray(np.divide(above, below, out=unknown, where=below > 0))


def payment(amount: FloatArray, apr: FloatArray, months: FloatArray) -> FloatArray:
    """Return the level payment a month, in the currency of `amount`.

    The annuity formula: amount x r / (1 - (1 + r)^-months) with r = apr / 12, which is
    amount / months where the loan costs nothing.
    """
    rate = apr / 12
    share = ratio(rate, 1 - (1 + rate) ** -months)
    free = ratio(np.ones(len(months)), months)
    return amount * np.where(rate == 0, free, share)


def _dearest_payment(table: pa.Table) -> FloatArray:
    """Return the payment at the product's highest cost, over the term asked for or the longest."""
    asked, longest = numbers(table, "term_months"), numbers(table, "term_max_months")
    months = np.where(np.isnan(asked), longest, asked)
    return payment(numbers(table, "amount"), numbers(table, "apr_max"), months)


def _evidence(table: pa.Table, decisions: str) -> FloatArray:
    """Return how much evidence a history rate rests on, from 0 to 1."""
    return np.minimum(numbers(table, decisions) / ENOUGH_DECISIONS, 1.0)


def _register_rate(table: pa.Table) -> FloatArray:
    """Return what share a public register says that was approved, by Laplace's rule."""
    approvals = numbers(table, "institution_register_approvals")
    return (approvals + 1) / (numbers(table, "institution_register_applications") + 2)


PAIR_FEATURES: dict[str, Callable[[pa.Table], FloatArray]] = {
    "institution_evidence": lambda t: _evidence(t, "institution_decisions"),
    "product_evidence": lambda t: _evidence(t, "product_decisions"),
    "register_approval_rate": _register_rate,
    "amount_to_max": lambda t: ratio(numbers(t, "amount"), numbers(t, "amount_max")),
    "amount_to_min": lambda t: ratio(numbers(t, "amount"), numbers(t, "amount_min")),
    "term_to_max": lambda t: ratio(numbers(t, "term_months"), numbers(t, "term_max_months")),
    "payment_to_income": lambda t: ratio(_dearest_payment(t), numbers(t, "income_monthly")),
    "payment_to_revenue": lambda t: ratio(12 * _dearest_payment(t), numbers(t, "revenue_annual")),
}
"""Features computed of other columns, each a fraction without unit."""

HISTORY = (
    "institution_approval_rate",
    "institution_approval_rate_90d",
    "institution_funded_rate",
    "product_approval_rate",
    "product_funded_rate",
)
"""Rates that say nothing of a lender which has decided nothing yet: unknown there."""

LENDER_IDS = ("institution_id", "product_id")
LENDER_COUNTS = ("institution_decisions", "product_decisions")


def of_a_new_lender(table: pa.Table) -> pa.Table:
    """Return `table` as if each row's lender were one that was never heard of.

    Its ids are unknown and it has decided nothing; kind and terms stay.
    """
    for name in (*LENDER_IDS, *LENDER_COUNTS):
        if name in table.column_names:
            column = table.schema.field(name)
            value = 0 if name in LENDER_COUNTS else None
            blank = pa.repeat(pa.scalar(value, type=column.type), table.num_rows)
            table = table.set_column(table.column_names.index(name), column, blank)
    return table


def numbers(table: pa.Table, name: str) -> FloatArray:
    """Return a column of numbers or of yes and no as floats; nan where it is unknown.

    Raises:
        MissingColumns: `table` has no such column.
    """
    if name not in table.column_names:
        raise MissingColumns([name])
    values = pc.cast(table[name], pa.float64()).to_numpy()
    return np.asarray(np.where(np.isfinite(values), values, np.nan), dtype=np.float64)


@dataclass(frozen=True)
class Encoder:
    """How a table becomes a matrix: which columns, and which number stands for which category."""

    features: Features
    vocabulary: Vocabulary
    effects: Effects = NO_EFFECTS
    """What fills the features that its levels name."""

    @classmethod
    def learned_from(cls, table: pa.Table, features: Features, *, least_rows: int) -> "Encoder":
        """Return an encoder that knows the categories found in `least_rows` or more rows.

        It knows whose effects there may be, and none yet: `fitting` learns them.
        """
        vocabulary = {name: _common(table[name], least_rows) for name in features.categories}
        levels = params().effects.levels
        if not {level.name for level in levels} & set(features.names):
            return cls(features, vocabulary)
        words = learned_words(table, levels, params().effects.bands)
        return cls(features, vocabulary, Effects.unlearned(words, levels))

    @property
    def categorical_indexes(self) -> list[int]:
        """Positions of the categories among the columns of a matrix."""
        first = len(self.features.numbers)
        return list(range(first, first + len(self.features.categories)))

    def matrix(self, table: pa.Table) -> FloatArray:
        """Return `table` as floats, shape (rows, features); nan: unknown number or category.

        Each row depends on its own values alone, so rows may be split and batched at will.

        Raises:
            MissingColumns: `table` lacks columns that the features need.
        """
        of_effects = self.effect_names
        computed = set(PAIR_FEATURES) | set(of_effects)
        if absent := set(self.features.names) - computed - set(table.column_names):
            raise MissingColumns(sorted(absent))
        filled = np.empty((table.num_rows, len(self.features.names)), order="F")
        for index, name in enumerate(self.features.names):
            if name not in of_effects:
                filled[:, index] = self._column(table, name)
        if of_effects:
            told = [self.effects.names.index(name) for name in of_effects]
            filled[:, self.indexes(of_effects)] = self.effects.columns(table)[:, told]
        return filled

    @property
    def effect_names(self) -> tuple[str, ...]:
        """The features that tell effects of lenders, in the order of the matrix."""
        told = self.effects.names
        return tuple(name for name in self.features.names if name in told)

    def indexes(self, names: Iterable[str]) -> list[int]:
        """Return the positions of `names` among the columns of a matrix."""
        return [self.features.names.index(name) for name in names]

    def _column(self, table: pa.Table, name: str) -> FloatArray:
        if name in PAIR_FEATURES:
            return PAIR_FEATURES[name](table)
        if name in HISTORY:
            has_decided = numbers(table, "institution_decisions") > 0
            return np.where(has_decided, numbers(table, name), np.nan)
        if name in self.vocabulary:
            known = pa.array(self.vocabulary[name], type=pa.string())
            codes = pc.index_in(table[name], value_set=known, skip_nulls=True)
            return np.asarray(pc.cast(codes, pa.float64()).to_numpy(), dtype=np.float64)
        return numbers(table, name)


def _common(column: pa.ChunkedArray, least_rows: int) -> tuple[str, ...]:
    counted = pc.value_counts(column.combine_chunks())
    often = counted.filter(pc.greater_equal(counted.field("counts"), least_rows))
    return tuple(sorted(value for value in often.field("values").to_pylist() if value is not None))
