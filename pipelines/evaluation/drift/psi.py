"""The population stability index (PSI) of a column, and its distribution under no change.

Leads of one day resemble each other more than leads of different days: a campaign, a weekend, a
person who applies twice. So three days carry less information than their number of rows. How much
less is measured on the days of the reference as the design effect of cluster samples (J. Rao and
A. Scott, Annals of Statistics 12, 1984), here by the median over days: a few unusual days don't
raise it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from expectations import policy
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import quantile_edges, round_significant
from pipelines.evaluation.drift.comparison import Figure, Grouping, Topic

SMOOTHING = 0.5
"""Added to every bin, so that an empty bin has a logarithm (Jeffreys' prior)."""
OTHERS, MISSING = "others", "missing"
"""Names of the bins of rare categories and of missing values."""


@dataclass(frozen=True)
class Psi:
    """The population stability index of two samples."""

    value: float
    expected: float
    """Expectation under no change."""
    p_value: float


@dataclass(frozen=True)
class Groups:
    """The group of each row."""

    names: tuple[str, ...]
    codes: IntArray
    """Position in `names`; -1 for a row without a group."""

    @classmethod
    def from_column(cls, column: pa.ChunkedArray) -> "Groups":
        """Return one group for each value of `column`, by name."""
        names = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
        codes = pc.index_in(column, pa.array(names, pa.string()), skip_nulls=True)
        return cls(tuple(names), codes.fill_null(-1).to_numpy().astype(np.int64))


@dataclass(frozen=True)
class Sample:
    """Rows of several days: reference days first, then current days."""

    days: int
    reference_days: int
    day: IntArray
    """Position of each row's day."""
    groupings: Mapping[Grouping, Groups]

    @property
    def is_reference(self) -> BoolArray:
        """Return which rows belong to the reference."""
        return self.day < self.reference_days

    def counts(self, groups: Groups, bins: "Bins | None" = None) -> IntArray:
        """Return the rows by day, group and bin, shape (days, groups, bins)."""
        codes, width = (bins.codes, bins.number) if bins else (np.zeros_like(self.day), 1)
        shape = (self.days, len(groups.names), width)
        cell = (self.day * shape[1] + groups.codes) * width + codes
        counts = np.bincount(cell[groups.codes >= 0], minlength=int(np.prod(shape)))
        return counts.reshape(shape)

    def means(self, groups: Groups, values: FloatArray | None) -> FloatArray:
        """Return the means in the reference and now, shape (2, groups); nan without known rows."""
        shape = (2, len(groups.names))
        if values is None:
            return np.full(shape, np.nan)
        known = (groups.codes >= 0) & ~np.isnan(values)
        cell = (np.where(self.is_reference, 0, shape[1]) + groups.codes)[known]
        sums = np.bincount(cell, values[known], shape[0] * shape[1])
        with np.errstate(invalid="ignore"):
            return (sums / np.bincount(cell, minlength=sums.size)).reshape(shape)


@dataclass(frozen=True)
class Bins:
    """The bin of each row of a column."""

    number: int
    codes: IntArray
    is_ordered: bool
    """True if neighbouring bins are similar, as bins of numbers are."""
    values: FloatArray | None = None
    """The numbers, nan if missing; None for texts."""
    names: tuple[str, ...] = ()
    """Categories of the bins of a text."""

    @classmethod
    def from_column(cls, column: pa.ChunkedArray, is_reference: BoolArray) -> "Bins":
        """Return the bins of `column` with edges from the reference; the last bin is missing."""
        if pa.types.is_string(column.type):
            return cls._from_texts(column, is_reference)
        return cls._from_numbers(pc.cast(column, pa.float64()).to_numpy(), is_reference)

    @classmethod
    def _from_numbers(cls, values: FloatArray, is_reference: BoolArray) -> "Bins":
        """Return bins of equal count; a frequent value has a bin of its own."""
        known = values[is_reference & ~np.isnan(values)]
        bins = policy.drift().bins
        edges = quantile_edges(known, bins, "inverted_cdf") if known.size else known
        codes = np.searchsorted(edges, values, side="left")
        missing = edges.size + 1
        return cls(
            missing + 1, np.where(np.isnan(values), missing, codes), is_ordered=True, values=values
        )

    @classmethod
    def _from_texts(cls, column: pa.ChunkedArray, is_reference: BoolArray) -> "Bins":
        """Return a bin for each frequent category; the others share one.

        A rare text may be a person's own words, so it is not a category and is shown nowhere.
        """
        counts = pc.value_counts(column.filter(pa.array(is_reference)).drop_null())
        rules = policy.drift()
        by_count = sorted(
            (-row["counts"], row["values"])
            for row in counts.to_pylist()
            if row["counts"] >= rules.min_rows
        )
        frequent = [value for _, value in by_count[: rules.max_categories]]
        found = pc.index_in(column, pa.array(frequent, pa.string()), skip_nulls=True)
        codes = found.fill_null(len(frequent)).to_numpy().astype(np.int64)
        missing = pc.is_null(column).to_numpy()
        return cls(
            number=len(frequent) + 2,
            codes=np.where(missing, codes + 1, codes),
            is_ordered=False,
            names=(*frequent, OTHERS, MISSING),
        )

    def merge_sparse(self, counts: IntArray, reference_days: int) -> IntArray:
        """Return `counts` (days, bins) with bins merged until each is expected to hold rows now."""
        reference = counts[:reference_days].sum(axis=0)
        if not self.is_ordered:
            fullest_first = np.argsort(-reference, kind="stable")
            counts, reference = counts[:, fullest_first], reference[fullest_first]
        expected = reference * counts[reference_days:].sum() / max(reference.sum(), 1)
        begins = np.floor((np.cumsum(expected) - expected) / policy.drift().min_expected)
        firsts = np.flatnonzero(np.diff(begins, prepend=-1))
        return np.asarray(np.add.reduceat(counts, firsts, axis=1))


def psi_figures(
    topic: Topic, sample: Sample, columns: Iterable[tuple[str, pa.ChunkedArray]]
) -> Iterator[Figure]:
    """Yield the PSI of each column in each group that has enough rows, now and before."""
    for measure, column in columns:
        bins = Bins.from_column(column, sample.is_reference)
        for grouping, groups in sample.groupings.items():
            counts = sample.counts(groups, bins)
            means = sample.means(groups, bins.values)
            for position, group in enumerate(groups.names):
                merged = bins.merge_sparse(counts[:, position], sample.reference_days)
                reference, now = np.split(merged, [sample.reference_days])
                for figure in _psi_figure(topic, measure, (grouping, group), reference, now):
                    level = _level(sample, bins, counts[:, position], means[:, position])
                    yield replace(figure, **level)


def _psi_figure(
    topic: Topic, measure: str, where: tuple[Grouping, str], reference: IntArray, now: IntArray
) -> Iterator[Figure]:
    """Yield the figure of one group from its rows by day and bin, if it has enough."""
    rules = policy.drift()
    if min(reference.sum(), now.sum()) < rules.min_rows:
        return
    if psi := compute_psi(reference, now.sum(axis=0)):
        yield Figure(
            topic=topic,
            measure=measure,
            grouping=where[0],
            group=where[1],
            statistic="psi",
            value=psi.value,
            reference=None,
            distance=psi.value,
            watch_threshold=round_significant(rules.lines.stability.watch + psi.expected),
            drift_threshold=round_significant(rules.lines.stability.drift + psi.expected),
            p_value=psi.p_value,
            rows=int(now.sum()),
            reference_rows=int(reference.sum()),
            reference_days=int((reference.sum(axis=1) > 0).sum()),
        )


def _level(sample: Sample, bins: Bins, counts: IntArray, means: FloatArray) -> dict[str, Any]:
    """Return the fields of a figure that give its direction."""
    levels, category = means, ""
    if bins.values is None:
        reference, now = np.split(counts, [sample.reference_days])
        reference, now = reference.sum(axis=0), now.sum(axis=0)
        bin_ = _largest_contribution(reference, now)
        levels = np.array([reference[bin_] / reference.sum(), now[bin_] / now.sum()])
        category = bins.names[bin_]
    before, after = (
        None if np.isnan(level) else round_significant(float(level)) for level in levels
    )
    return {"level": after, "reference_level": before, "category": category}


def compute_psi(reference: IntArray, now: IntArray) -> Psi | None:
    """Return the PSI of a sample against the reference; None if there is only one bin.

    The index is the sum of (q - p) ln(q / p) over the shares q now and p in the reference. Under no
    change it is about (1/n + 1/m) times a chi-square variable with one degree of freedom less than
    bins (Yurdakul and Naranjo 2020), times the design effect. The design effect is estimated on
    the days of the reference, so the quotient follows an F distribution.

    Args:
        reference: Rows by day and bin, shape (days, bins).
        now: Rows by bin, shape (bins,).
    """
    bins = now.size
    if bins < 2:  # noqa: PLR2004 - one bin holds all of both
        return None
    p, q = _shares(reference.sum(axis=0)), _shares(now)
    psi = float(np.sum((q - p) * np.log(q / p)))
    effect, days = _design_effect_of_days(reference)
    unit = effect * (1 / now.sum() + 1 / reference.sum())
    tail = special.fdtrc(bins - 1, max(days - 1, 1) * (bins - 1), psi / unit / (bins - 1))
    return Psi(
        round_significant(psi),
        round_significant(unit * (bins - 1)),
        round_significant(float(tail)),
    )


def _largest_contribution(reference: IntArray, now: IntArray) -> int:
    """Return the bin that adds most to the index of two samples, both of shape (bins,)."""
    p, q = _shares(reference), _shares(now)
    return int(np.argmax((q - p) * np.log(q / p)))


def _shares(counts: IntArray) -> FloatArray:
    return np.asarray((counts + SMOOTHING) / (counts.sum() + SMOOTHING * counts.size))


def _design_effect_of_days(counts: IntArray) -> tuple[float, int]:
    """Return the design effect of days, and the number of days it is estimated on."""
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    days, bins = counts.shape
    if days < 2 or bins < 2:  # noqa: PLR2004 - nothing to compare
        return 1.0, days
    rows = counts.sum(axis=1, keepdims=True)
    expected = rows * counts.sum(axis=0) / counts.sum()
    independent = 1 - rows[:, 0] / counts.sum()  # a day is part of its own reference
    chi_squares = ((counts - expected) ** 2 / expected).sum(axis=1) / independent
    return design_effect(chi_squares, bins - 1), days


def design_effect(chi_squares: FloatArray, degrees: int = 1) -> float:
    """Return the variance between samples as a multiple of that of independent rows, at least 1.

    Args:
        chi_squares: Pearson's statistic of each sample against all of them.
        degrees: Degrees of freedom of each.
    """
    median = degrees * (1 - 2 / (9 * degrees)) ** 3  # of chi-square (Wilson and Hilferty 1931)
    return max(1.0, float(np.median(chi_squares)) / median) if chi_squares.size else 1.0


def f_tail(squares: FloatArray, degrees: int) -> FloatArray:
    """Return the tail probability of squares of standardised differences.

    Args:
        squares: Each divided by its variance, design effect included.
        degrees: Degrees of freedom on which the variance was estimated.
    """
    return np.asarray(special.fdtrc(1, max(degrees, 1), squares))
