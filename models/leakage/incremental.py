"""What a column adds to the others: the tests that tell a leak from a column that is merely good.

Columns are taken from the weakest to the strongest. Each is tried against those that came before it
and were found honest, so that a leak is never excused by its copy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from expectations import policy
from models.leakage.power import Sample, fair_rates, joined, together
from models.leakage.univariate import Alone, Trial
from models.leakage.views import Views
from pipelines.core.arrays import FloatArray, IntArray

WORTH_TRYING = 0.58
"""AUC alone from which on a column is tried by itself; weaker ones make up the rest together."""
CERTAIN = 0.98
"""Share of one outcome from which on a group counts as certain of it."""
LEAST_OF_A_GROUP = 20
LEAST_SHARE = 0.005
"""Of the rows, that must lie in certain groups to say anything."""


@dataclass(frozen=True)
class Part:
    """Rows whose outcome a view is certain of."""

    view: str
    rows: float
    """Share of all rows."""
    other: float
    """Share of them that went otherwise."""
    expected: float
    """Share of them that the other columns expected to go otherwise."""
    deviation: float

    @property
    def surprise(self) -> float:
        """Return the share that others expected to go otherwise and that didn't."""
        return self.expected - self.other


def beyond_the_rest(
    views: Mapping[str, Views], sample: Sample, said: Mapping[str, Alone], suspects: frozenset[str]
) -> Iterator[Trial]:
    """Yield the tests of each column worth trying, against the columns that are weaker and honest.

    Args:
        views: By the column's name.
        sample: The rows.
        said: What each column says by itself; those that say nothing are not in it.
        suspects: Columns that failed another test: never part of the rest.
    """
    order = sorted(said, key=lambda name: (said[name].power.auc, name))
    tried = [n for n in order if n in suspects or _is_worth_trying(views[n], sample, said[n])]
    rest = [part for n in order if n not in tried for part in _inputs(views[n], said[n], sample)]
    known = [together(rest, sample)]
    odds = joined(known, sample)
    for name in tried:
        more = [*known, *_inputs(views[name], said[name], sample)]
        better = joined(more, sample)
        trials = [_gain(name, odds, better, sample), *_part(views[name], odds, sample)]
        yield from trials
        if name not in suspects and not any(trial.is_leak for trial in trials):
            known, odds = more, better


def _is_worth_trying(views: Views, sample: Sample, said: Alone) -> bool:
    nothing_known = together((), sample)
    return said.power.low(policy.leaks().deviations) > WORTH_TRYING or any(
        part.surprise > policy.leaks().limits.part / 2
        for part in _certain(views, nothing_known, sample)
    )


def _inputs(views: Views, said: Alone, sample: Sample) -> Sequence[FloatArray]:
    told, numbers = fair_rates(said.codes, sample), views.column.numbers
    return (told,) if numbers is None else (told, numbers)


def _gain(name: str, odds: FloatArray, better: FloatArray, sample: Sample) -> Trial:
    limits = policy.leaks()
    before, more = sample.power(odds).auc, sample.gain(odds, better)
    reached = sample.power(better).low(limits.deviations) > limits.limits.gain_to
    left = max(1 - before, 1e-9)
    share = more.auc / left
    is_leak = reached and more.low(limits.deviations) / left > limits.limits.gain
    words = (
        f"with it the AUC of weaker columns rises from {before:.3f} to {before + more.auc:.3f}: "
        f"{share:.0%} of what they put in the wrong order is put right"
    )
    return Trial(name, "gain", share, limits.limits.gain, is_leak, words)


def _part(views: Views, odds: FloatArray, sample: Sample) -> Iterator[Trial]:
    limits = policy.leaks()
    parts = list(_certain(views, odds, sample))
    if not parts:
        return
    most = max(parts, key=lambda part: part.surprise - limits.deviations * part.deviation)
    is_leak = most.surprise - limits.deviations * most.deviation > limits.limits.part
    words = (
        f"{most.view} is certain of the outcome in {most.rows:.1%} of the rows: "
        f"{most.other:.1%} of them go otherwise, where the other columns expect {most.expected:.1%}"
    )
    yield Trial(views.column.name, "part", most.surprise, limits.limits.part, is_leak, words)


def _certain(views: Views, odds: FloatArray, sample: Sample) -> Iterator[Part]:
    """Yield for each view and outcome the judged rows of the groups that were certain of it."""
    happened = sample.happened[sample.judged]
    chance = 1 / (1 + np.exp(-odds[sample.judged]))
    least = max(policy.leaks().least_rows_of_a_class, LEAST_SHARE * len(happened))
    for name, codes in views:
        sides = _sides(codes, sample)[codes[sample.judged]]
        for side in (0, 1):
            inside = sides == side
            rows = int(inside.sum())
            if rows < least:
                continue
            other = float((happened[inside] != side).mean())
            expected = np.abs(side - chance[inside])
            if other <= 2 * (1 - CERTAIN):
                deviation = float(np.sqrt((expected * (1 - expected)).sum())) / rows
                yield Part(name, rows / len(happened), other, float(expected.mean()), deviation)


def _sides(codes: IntArray, sample: Sample) -> IntArray:
    """Return which outcome each group is certain of, by the rows learned from; -1: of none."""
    size, learned = int(codes.max()) + 1, sample.learned
    count = np.bincount(codes[learned], minlength=size)
    times = np.bincount(codes[learned], weights=sample.happened[learned], minlength=size)
    share = times / np.maximum(count, 1)
    side = np.where(share >= CERTAIN, 1, np.where(share <= 1 - CERTAIN, 0, -1))
    return np.where(count >= LEAST_OF_A_GROUP, side, -1)
