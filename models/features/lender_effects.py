"""Lender effects: hierarchical target encoding with shrinkage (empirical Bayes).

Each level of a hierarchy (kind of institution, institution, product, product by purpose, ...) has
an effect on the log-odds for each of its groups. The effect of a group is the maximum a posteriori
estimate, given the labels of its rows beyond what the *base margin* (log-odds without lender
columns) and the parent level expect, under a normal prior around zero:

    max over b:  sum log p(label | base_margin + parent + b)  -  prior_rows / 8 * b^2

A group with few rows stays near its parent and an unseen group equals it: a new product borrows
from its institution, a new institution from its kind. `prior_rows` is in rows of even odds, each of
which has the information 1/4 (Breslow and Clayton 1993, "Approximate inference in generalized
linear mixed models", section 2; here one level at a time). A row gets one column a level; the
effects of a group and of all its ancestors add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import MissingColumns
from models.features.columns import compute_by_entry, convert_to_floats
from models.params import EffectLevel
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import quantile_edges, round_significant, sigmoid

NO_CODES = np.zeros(0, dtype=np.int64)
NEWTON_STEPS = 6
MAX_STEP = 2.0
INFORMATION_OF_A_ROW = 0.25
"""p (1 - p) of a row with even odds."""
MOST_CODES = 1 << 20
"""A level whose codes are below it is looked up by position, and no code is searched."""
DIGITS = 9
"""Significant digits of an effect in the registry."""


@dataclass(frozen=True)
class Vocabulary:
    """The known values of one column, each with its code; an unknown value has the code -1."""

    texts: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    """Of a numeric column: the lower edges of all its bins but the first."""

    @classmethod
    def fit(cls, column: pa.ChunkedArray, bins: int) -> "Vocabulary":
        """Return the texts of `column`, or the edges of `bins` bins of about equal count."""
        if pa.types.is_string(column.type):
            return cls(texts=tuple(sorted(pc.drop_null(pc.unique(column)).to_pylist())))
        values = convert_to_floats(column)
        known = values[~np.isnan(values)]
        if not len(known):
            return cls()
        return cls(edges=tuple(quantile_edges(known, bins, "higher").tolist()))

    def __len__(self) -> int:
        return len(self.texts) or len(self.edges) + 1

    def encode(self, column: pa.ChunkedArray) -> IntArray:
        """Return the code of each value, -1 if it is unknown."""
        return compute_by_entry(column, self._encode)

    def _encode(self, column: pa.ChunkedArray | pa.Array) -> IntArray:
        if self.texts:
            known = pa.array(self.texts, type=pa.string())
            codes = pc.fill_null(pc.index_in(column, value_set=known, skip_nulls=True), -1)
            return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int64)
        if pa.types.is_string(column.type):
            return np.full(len(column), -1, dtype=np.int64)
        values = convert_to_floats(column)
        bins = np.searchsorted(np.array(self.edges), values, side="right")
        return np.asarray(np.where(np.isnan(values), -1, bins), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class LevelEffects:
    """The groups of one level, by sorted code, and the effect of each."""

    level: EffectLevel
    codes: IntArray
    values: FloatArray

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, LevelEffects)
            and self.level == other.level
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.values, other.values)
        )

    def __hash__(self) -> int:
        return hash(self.level.name)

    def look_up(self, codes: IntArray) -> FloatArray:
        """Return the effect of each code; 0 for a group without rows in training."""
        if not len(self.codes):
            return np.zeros(len(codes))
        if self._by_code is not None:
            return np.asarray(self._by_code[np.clip(codes, -1, len(self._by_code) - 2)])
        position = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[position] == codes, self.values[position], 0.0)

    @cached_property
    def _by_code(self) -> FloatArray | None:
        """The effect of each code from 0 and two zeros, which the codes behind the last one and
        -1 read; None if the codes are too many."""
        last = int(self.codes[-1])
        if last >= MOST_CODES:
            return None
        effects = np.zeros(last + 3)
        effects[self.codes] = self.values
        return effects


@dataclass(frozen=True)
class LenderEffects:
    """The effects of all levels, estimated on some rows: a pure function of each row."""

    vocabularies: Mapping[str, Vocabulary]
    """By column."""
    by_level: tuple[LevelEffects, ...]
    """In the order of the levels; a parent comes before its children."""

    @classmethod
    def unfitted(
        cls, vocabularies: Mapping[str, Vocabulary], levels: Sequence[EffectLevel]
    ) -> "LenderEffects":
        """Return effects of `levels` without any group, so that each is 0."""
        empty = np.zeros(0)
        return cls(vocabularies, tuple(LevelEffects(level, NO_CODES, empty) for level in levels))

    @property
    def names(self) -> tuple[str, ...]:
        """The feature that each level gives."""
        return tuple(effects.level.name for effects in self.by_level)

    @property
    def levels(self) -> tuple[EffectLevel, ...]:
        """The levels, parents first."""
        return tuple(effects.level for effects in self.by_level)

    def encode(self, table: pa.Table) -> FloatArray:
        """Return each level's effect on the log-odds of each row; shape (rows, levels).

        Raises:
            MissingColumns: `table` lacks columns of a level.
        """
        return self.encode_groups(LenderGroups.from_table(table, self.vocabularies, self.levels))

    def encode_groups(self, groups: "LenderGroups") -> FloatArray:
        """Return the same as `encode` for rows whose groups are known already."""
        columns = [
            effects.look_up(codes)
            for effects, codes in zip(self.by_level, groups.codes, strict=True)
        ]
        return np.stack(columns, axis=1)

    def as_dict(self) -> dict[str, Any]:
        """Return the effects for the registry; equal effects give equal text."""
        return {
            "vocabularies": {
                name: {"texts": list(vocabulary.texts), "edges": list(vocabulary.edges)}
                for name, vocabulary in sorted(self.vocabularies.items())
            },
            "levels": [
                {
                    "level": effects.level.model_dump(mode="json"),
                    "codes": effects.codes.tolist(),
                    "effects": effects.values.tolist(),
                }
                for effects in self.by_level
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "LenderEffects":
        """Return the effects that `as_dict` described."""
        vocabularies = {
            name: Vocabulary(tuple(values["texts"]), tuple(values["edges"]))
            for name, values in content["vocabularies"].items()
        }
        by_level = tuple(
            LevelEffects(
                EffectLevel.model_validate(entry["level"]),
                np.array(entry["codes"], dtype=np.int64),
                np.array(entry["effects"], dtype=np.float64),
            )
            for entry in content["levels"]
        )
        return cls(vocabularies, by_level)


@dataclass(frozen=True)
class LenderGroups:
    """The group of each row of a table at each level, -1 if a value is unknown."""

    levels: tuple[EffectLevel, ...]
    codes: tuple[IntArray, ...]

    @classmethod
    def from_table(
        cls,
        table: pa.Table,
        vocabularies: Mapping[str, Vocabulary],
        levels: Sequence[EffectLevel],
    ) -> "LenderGroups":
        """Return the groups of the rows of `table`."""
        _require_columns(table, vocabularies)
        codes = {name: values.encode(table[name]) for name, values in vocabularies.items()}
        sizes = {name: len(values) for name, values in vocabularies.items()}
        combined = [
            _combine_codes([(codes[name], sizes[name]) for name in level.columns])
            for level in levels
        ]
        return cls(tuple(levels), tuple(combined))

    def select(self, rows: BoolArray) -> "LenderGroups":
        """Return the groups of some rows."""
        return LenderGroups(self.levels, tuple(codes[rows] for codes in self.codes))


def fit_vocabularies(
    table: pa.Table, levels: Sequence[EffectLevel], bins: int
) -> dict[str, Vocabulary]:
    """Return the vocabulary of every column of a level, from all rows of `table`.

    They contain no label, so rows that are later predicted may take part.

    Raises:
        MissingColumns: `table` lacks one of the columns.
    """
    names = sorted({name for level in levels for name in level.columns})
    _require_columns(table, names)
    return {name: Vocabulary.fit(table[name], bins) for name in names}


def fit_lender_effects(
    groups: LenderGroups,
    vocabularies: Mapping[str, Vocabulary],
    base_margin: FloatArray,
    labels: FloatArray,
) -> LenderEffects:
    """Return the effects that the labels show beyond the `base_margin`, in log-odds."""
    total: dict[str, FloatArray] = {}
    by_level = []
    for level, codes in zip(groups.levels, groups.codes, strict=True):
        parent = total[level.parent] if level.parent else np.zeros(len(labels))
        effects = _fit_level(level, codes, base_margin + parent, labels)
        total[level.name] = parent + effects.look_up(codes)
        by_level.append(effects)
    return LenderEffects(vocabularies, tuple(by_level))


def _fit_level(
    level: EffectLevel, codes: IntArray, offset: FloatArray, labels: FloatArray
) -> LevelEffects:
    """Return the maximum a posteriori effect of each group that has a row, by Newton's method."""
    known = codes >= 0
    group_codes, group = np.unique(codes[known], return_inverse=True)
    offset, labels, number = offset[known], labels[known], len(group_codes)
    precision = level.prior_rows * INFORMATION_OF_A_ROW
    values = np.zeros(number)
    for _ in range(NEWTON_STEPS):
        expected = sigmoid(offset + values[group])
        slope = np.bincount(group, weights=labels - expected, minlength=number)
        information = np.bincount(group, weights=expected * (1 - expected), minlength=number)
        step = (slope - precision * values) / (information + precision)
        values = values + np.clip(step, -MAX_STEP, MAX_STEP)
    rounded = np.array([round_significant(value, DIGITS) for value in values.tolist()])
    return LevelEffects(level, group_codes, rounded)


def _combine_codes(parts: Sequence[tuple[IntArray, int]]) -> IntArray:
    """Return one code of several, each with its number of values; -1 if one is unknown."""
    combined = np.zeros(len(parts[0][0]), dtype=np.int64)
    known = np.ones(len(combined), dtype=bool)
    for codes, size in parts:
        combined, known = combined * size + codes, known & (codes >= 0)
    return np.where(known, combined, -1)


def _require_columns(table: pa.Table, names: Mapping[str, Any] | Sequence[str]) -> None:
    if absent := sorted(set(names) - set(table.column_names)):
        raise MissingColumns(absent)
