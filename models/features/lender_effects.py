"""What a lender does otherwise than leads and terms would say: effects that shrink to the group.

Each level of a hierarchy (a kind of institution, an institution, its product, its product for one
purpose, ...) has a shift of the log-odds for each of its cells. A cell's shift is the most probable
one, given the decisions of its rows beyond what the *margin* (the log-odds without lender) and the
level above expect, under a normal prior around nothing:

    max over b:  sum log p(label | margin + above + b)  -  strength / 8 * b^2

so a cell with few rows stays near the level above it and one that was never seen is equal to it: a
new product borrows from its institution, a new institution from its kind. `strength` is in rows of
even odds, since such a row tells 1/4 (Breslow and Clayton 1993, "Approximate inference in
generalized linear mixed models", section 2; here one level at a time). A row is told the shift of
its cell at each level; those of a cell and of all above it add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import MissingColumns
from models.params import Level
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import quantile_edges, round_significant, sigmoid

NO_CODES = np.zeros(0, dtype=np.int64)
NEWTON_STEPS = 6
LONGEST_STEP = 2.0
INFORMATION_OF_A_ROW = 0.25
"""Of a row with even odds: p (1 - p)."""
DIGITS = 9
"""Of a shift in the registry."""


@dataclass(frozen=True)
class Words:
    """The values of one column that a level knows, each by its place; those it doesn't: -1."""

    texts: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    """Of a column of numbers: the lower ends of all its bands but the first."""

    @classmethod
    def learned_from(cls, column: pa.ChunkedArray, bands: int) -> "Words":
        """Return the texts of `column`, or the ends of `bands` bands of about equal count."""
        if pa.types.is_string(column.type):
            found = pc.drop_null(pc.unique(column)).to_pylist()
            return cls(texts=tuple(sorted(found)))
        values = _floats(column)
        known = values[~np.isnan(values)]
        if not len(known):
            return cls()
        return cls(edges=tuple(quantile_edges(known, bands, "higher").tolist()))

    def __len__(self) -> int:
        return len(self.texts) or len(self.edges) + 1

    def places(self, column: pa.ChunkedArray) -> IntArray:
        """Return the place of each value, -1 where it is unknown."""
        if self.texts:
            known = pa.array(self.texts, type=pa.string())
            found = pc.fill_null(pc.index_in(column, value_set=known, skip_nulls=True), -1)
            return np.asarray(found.to_numpy(), dtype=np.int64)
        if pa.types.is_string(column.type):
            return np.full(len(column), -1, dtype=np.int64)
        values = _floats(column)
        places = np.searchsorted(np.array(self.edges), values, side="right")
        return np.asarray(np.where(np.isnan(values), -1, places), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Shifts:
    """The cells of one level: sorted codes, and the shift of each."""

    level: Level
    codes: IntArray
    values: FloatArray

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Shifts)
            and self.level == other.level
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.values, other.values)
        )

    def __hash__(self) -> int:
        return hash(self.level.name)

    def of(self, codes: IntArray) -> FloatArray:
        """Return the shift of each code; 0 where the cell was never seen."""
        if not len(self.codes):
            return np.zeros(len(codes))
        place = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[place] == codes, self.values[place], 0.0)


@dataclass(frozen=True)
class Effects:
    """The shifts of all levels, as learned from some rows: a pure function of each row."""

    words: Mapping[str, Words]
    shifts: tuple[Shifts, ...]
    """In the order of the levels; one that stands on another comes after it."""

    @classmethod
    def unlearned(cls, words: Mapping[str, Words], levels: Sequence[Level]) -> "Effects":
        """Return effects of `levels` that know of no cell yet, so that each is 0."""
        return cls(words, tuple(Shifts(level, NO_CODES, np.zeros(0)) for level in levels))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that this gives."""
        return tuple(shift.level.name for shift in self.shifts)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels, from the top down."""
        return tuple(shift.level for shift in self.shifts)

    def columns(self, table: pa.Table) -> FloatArray:
        """Return what each level says of each row, in log-odds; shape (rows, levels).

        Raises:
            MissingColumns: `table` lacks columns of a level.
        """
        return self.of(Cells.of(table, self.words, self.levels))

    def of(self, cells: "Cells") -> FloatArray:
        """Return the same of rows whose cells are known already."""
        told = [shift.of(codes) for shift, codes in zip(self.shifts, cells.codes, strict=True)]
        return np.stack(told, axis=1)

    def as_dict(self) -> dict[str, Any]:
        """Return the effects for the registry; equal effects give equal text."""
        return {
            "words": {
                name: {"texts": list(words.texts), "edges": list(words.edges)}
                for name, words in sorted(self.words.items())
            },
            "levels": [
                {
                    "level": shift.level.model_dump(mode="json"),
                    "codes": shift.codes.tolist(),
                    "shifts": shift.values.tolist(),
                }
                for shift in self.shifts
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Effects":
        """Return what `as_dict` described."""
        words = {
            name: Words(tuple(known["texts"]), tuple(known["edges"]))
            for name, known in content["words"].items()
        }
        shifts = tuple(
            Shifts(
                Level.model_validate(each["level"]),
                np.array(each["codes"], dtype=np.int64),
                np.array(each["shifts"], dtype=np.float64),
            )
            for each in content["levels"]
        )
        return cls(words, shifts)


@dataclass(frozen=True)
class Cells:
    """Which cell of each level each row of a table lies in, -1 where a value is unknown."""

    levels: tuple[Level, ...]
    codes: tuple[IntArray, ...]

    @classmethod
    def of(cls, table: pa.Table, words: Mapping[str, Words], levels: Sequence[Level]) -> "Cells":
        """Return the cells of `table`."""
        if absent := sorted(set(words) - set(table.column_names)):
            raise MissingColumns(absent)
        places = {name: known.places(table[name]) for name, known in words.items()}
        codes = [_combined([(places[name], len(words[name])) for name in v.of]) for v in levels]
        return cls(tuple(levels), tuple(codes))

    def of_rows(self, rows: BoolArray) -> "Cells":
        """Return the cells of some rows."""
        return Cells(self.levels, tuple(codes[rows] for codes in self.codes))


def learned_words(table: pa.Table, levels: Sequence[Level], bands: int) -> dict[str, Words]:
    """Return the words of every column that a level is of, from all rows of `table`.

    They hold no label: that a lender was there is no secret.

    Raises:
        MissingColumns: `table` lacks one of them.
    """
    names = sorted({name for level in levels for name in level.of})
    if absent := sorted(set(names) - set(table.column_names)):
        raise MissingColumns(absent)
    return {name: Words.learned_from(table[name], bands) for name in names}


def learn(
    cells: Cells, words: Mapping[str, Words], margin: FloatArray, labels: FloatArray
) -> Effects:
    """Return the effects that the rows of `cells` show beyond their `margin`, in log-odds."""
    told: dict[str, FloatArray] = {}
    shifts = []
    for level, codes in zip(cells.levels, cells.codes, strict=True):
        above = told[level.below] if level.below else np.zeros(len(labels))
        shift = _shifts(level, codes, margin + above, labels)
        told[level.name] = above + shift.of(codes)
        shifts.append(shift)
    return Effects(words, tuple(shifts))


def _shifts(level: Level, codes: IntArray, margin: FloatArray, labels: FloatArray) -> Shifts:
    """Return the most probable shift of each cell that has a row, by Newton's method."""
    known = codes >= 0
    cells, place = np.unique(codes[known], return_inverse=True)
    margin, labels = margin[known], labels[known]
    prior = level.strength * INFORMATION_OF_A_ROW
    values = np.zeros(len(cells))
    for _ in range(NEWTON_STEPS):
        expected = sigmoid(margin + values[place])
        slope = np.bincount(place, weights=labels - expected, minlength=len(cells))
        spread = np.bincount(place, weights=expected * (1 - expected), minlength=len(cells))
        step = (slope - prior * values) / (spread + prior)
        values = values + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
    rounded = np.array([round_significant(value, DIGITS) for value in values.tolist()])
    return Shifts(level, cells, rounded)


def _combined(parts: Sequence[tuple[IntArray, int]]) -> IntArray:
    """Return one code of several places with their counts; -1 where one is unknown."""
    whole = np.zeros(len(parts[0][0]), dtype=np.int64)
    known = np.ones(len(whole), dtype=bool)
    for places, count in parts:
        whole, known = whole * count + places, known & (places >= 0)
    return np.where(known, whole, -1)


def _floats(column: pa.ChunkedArray) -> FloatArray:
    values = pc.cast(column, pa.float64()).to_numpy()
    return np.asarray(np.where(np.isfinite(values), values, np.nan), dtype=np.float64)
