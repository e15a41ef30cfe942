"""Rows of several days, counted by day, group and bin; and how stable those counts are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import quantile_edges, round_significant
from pipelines.evaluation.drift.figures import Figure, Grouping, Topic
from pipelines.evaluation.drift.psi_null import moved_most, stability

OTHERS, MISSING = "others", "missing"
"""Names of the bins that hold what is rare, and what is not known."""


@dataclass(frozen=True)
class Groups:
    """To which group each row belongs."""

    names: tuple[str, ...]
    of_row: IntArray
    """Position in `names`; -1 where a row belongs to none."""

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "Groups":
        """Return the groups that the values of `column` make, by name."""
        names = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
        of_row = pc.index_in(column, pa.array(names, pa.string()), skip_nulls=True)
        return cls(tuple(names), of_row.fill_null(-1).to_numpy().astype(np.int64))


@dataclass(frozen=True)
class Sample:
    """Rows of some days: those of the reference first, then those that are looked at."""

    days: int
    reference_days: int
    day: IntArray
    """Of each row, its day's position."""
    groupings: Mapping[Grouping, Groups]

    @property
    def is_reference(self) -> BoolArray:
        """Return which rows belong to the reference."""
        return self.day < self.reference_days

    def counts(self, groups: Groups, bins: "Bins | None" = None) -> IntArray:
        """Return the rows by day, group and bin, shape (days, groups, bins)."""
        of_row, width = (bins.of_row, bins.number) if bins else (np.zeros_like(self.day), 1)
        shape = (self.days, len(groups.names), width)
        cell = (self.day * shape[1] + groups.of_row) * width + of_row
        found = np.bincount(cell[groups.of_row >= 0], minlength=int(np.prod(shape)))
        return found.reshape(shape)

    def means(self, groups: Groups, values: FloatArray | None) -> FloatArray:
        """Return the means in the reference and now, shape (2, groups); nan where none is known."""
        shape = (2, len(groups.names))
        if values is None:
            return np.full(shape, np.nan)
        known = (groups.of_row >= 0) & ~np.isnan(values)
        cell = (np.where(self.is_reference, 0, shape[1]) + groups.of_row)[known]
        sums = np.bincount(cell, values[known], shape[0] * shape[1])
        with np.errstate(invalid="ignore"):
            return (sums / np.bincount(cell, minlength=sums.size)).reshape(shape)


@dataclass(frozen=True)
class Bins:
    """In which bin of a column each row lies."""

    number: int
    of_row: IntArray
    have_order: bool
    """Whether neighbouring bins are alike, as those of numbers are."""
    values: FloatArray | None = None
    """The numbers themselves, nan where missing; None for texts."""
    names: tuple[str, ...] = ()
    """What the bins of a text hold."""

    @classmethod
    def of(cls, column: pa.ChunkedArray, is_reference: BoolArray) -> "Bins":
        """Return the bins of `column`, cut by what is in the reference; the last is missing."""
        if pa.types.is_string(column.type):
            return cls._of_texts(column, is_reference)
        return cls._of_numbers(pc.cast(column, pa.float64()).to_numpy(), is_reference)

    @classmethod
    def _of_numbers(cls, values: FloatArray, is_reference: BoolArray) -> "Bins":
        """Cut into equally full bins; a frequent value is a bin of its own."""
        known = values[is_reference & ~np.isnan(values)]
        bins = policy.drift().bins
        ends = quantile_edges(known, bins, "inverted_cdf") if known.size else known
        of_row = np.searchsorted(ends, values, side="left")
        missing = ends.size + 1
        of_row = np.where(np.isnan(values), missing, of_row)
        return cls(missing + 1, of_row, have_order=True, values=values)

    @classmethod
    def _of_texts(cls, column: pa.ChunkedArray, is_reference: BoolArray) -> "Bins":
        """Give each frequent value a bin; the others share one.

        What few leads say is not frequent: it may be somebody's own words, and is shown nowhere.
        """
        found = pc.value_counts(column.filter(pa.array(is_reference)).drop_null())
        rules = policy.drift()
        by_count = sorted(
            (-row["counts"], row["values"])
            for row in found.to_pylist()
            if row["counts"] >= rules.least_rows
        )
        frequent = [value for _, value in by_count[: rules.most_categories]]
        of_row = pc.index_in(column, pa.array(frequent, pa.string()), skip_nulls=True)
        codes = of_row.fill_null(len(frequent)).to_numpy().astype(np.int64)
        missing = pc.is_null(column).to_numpy()
        return cls(
            number=len(frequent) + 2,
            of_row=np.where(missing, codes + 1, codes),
            have_order=False,
            names=(*frequent, OTHERS, MISSING),
        )

    def joined(self, counts: IntArray, reference_days: int) -> IntArray:
        """Return `counts` (days, bins) with bins joined until each should hold some rows now."""
        then = counts[:reference_days].sum(axis=0)
        if not self.have_order:
            fullest_first = np.argsort(-then, kind="stable")
            counts, then = counts[:, fullest_first], then[fullest_first]
        expected = then * counts[reference_days:].sum() / max(then.sum(), 1)
        begins = np.floor((np.cumsum(expected) - expected) / policy.drift().least_expected)
        firsts = np.flatnonzero(np.diff(begins, prepend=-1))
        return np.asarray(np.add.reduceat(counts, firsts, axis=1))


class Split(NamedTuple):
    """Rows by day and bin of one group: in the reference and now."""

    then: IntArray
    now: IntArray


def stability_figures(
    topic: Topic, sample: Sample, columns: Iterable[tuple[str, pa.ChunkedArray]]
) -> Iterator[Figure]:
    """Yield how stable each column is in each group that has rows enough, now and before."""
    for what, column in columns:
        bins = Bins.of(column, sample.is_reference)
        for grouping, groups in sample.groupings.items():
            counts = sample.counts(groups, bins)
            means = sample.means(groups, bins.values)
            for place, group in enumerate(groups.names):
                joined = bins.joined(counts[:, place], sample.reference_days)
                split = Split(joined[: sample.reference_days], joined[sample.reference_days :])
                for figure in _stability(topic, what, grouping, group, split):
                    level = _level(sample, bins, counts[:, place], means[:, place])
                    yield replace(figure, **level)


def _level(sample: Sample, bins: Bins, counts: IntArray, means: FloatArray) -> dict[str, Any]:
    """Return the fields of a figure that say which way it went."""
    levels, name = means, ""
    if bins.values is None:
        then, now = np.split(counts, [sample.reference_days])
        then, now = then.sum(axis=0), now.sum(axis=0)
        place = moved_most(then, now)
        levels = np.array([then[place] / then.sum(), now[place] / now.sum()])
        name = bins.names[place]
    before, after = (
        None if np.isnan(level) else round_significant(float(level)) for level in levels
    )
    return {"level": after, "reference_level": before, "level_of": name}


def _stability(
    topic: Topic, what: str, grouping: Grouping, group: str, split: Split
) -> Iterator[Figure]:
    rules = policy.drift()
    then, now = split
    if min(then.sum(), now.sum()) < rules.least_rows:
        return
    if found := stability(then, now.sum(axis=0)):
        yield Figure(
            topic=topic,
            what=what,
            grouping=grouping,
            group=group,
            statistic="psi",
            value=found.psi,
            reference=None,
            distance=found.psi,
            watch_from=round_significant(rules.lines.stability.watch + found.by_chance),
            threshold=round_significant(rules.lines.stability.drift + found.by_chance),
            p_value=found.p_value,
            rows=int(now.sum()),
            reference_rows=int(then.sum()),
            reference_days=int((then.sum(axis=1) > 0).sum()),
        )
