"""How well groups, columns and models tell apart whom it happened to, judged on other rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np

from models.params import params
from models.validation.splits import at_random
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

INNER_FOLDS = 3
"""Within the rows learned from, for rates that no row has a part in itself."""
SMOOTHING = 10.0
"""Rows of the overall rate that each group is mixed with: a small group says little."""
SMALL_TREES = {
    "objective": "binary",
    "verbosity": -1,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "learning_rate": 0.1,
    "feature_fraction": 0.5,
}
"""For an order that is nearly as good as a tuned model's, in a tenth of the time."""
ROUNDS = 60
FEW = {"feature_fraction": 1.0}
"""With few columns each counts in every tree."""


@dataclass(frozen=True)
class Power:
    """Area under the ROC curve, or a difference of two, with its standard deviation."""

    auc: float
    deviation: float

    def low(self, z: float) -> float:
        """Return the lower end of an interval of `z` deviations."""
        return self.auc - z * self.deviation


@dataclass(frozen=True)
class Sample:
    """The rows that columns are tried on, in three parts."""

    happened: FloatArray
    lead_days: FloatArray | None
    learned: BoolArray
    """What groups and the weaker columns together say is learned on these."""
    added: BoolArray
    """What one more column adds is learned on these."""
    judged: BoolArray

    @property
    def parts(self) -> tuple[BoolArray, BoolArray, BoolArray]:
        """The three parts."""
        return self.learned, self.added, self.judged

    def power(self, told: FloatArray) -> Power:
        """Return how well `told` (of every row) puts the judged rows in order."""
        return power(told[self.judged], self.happened[self.judged])

    def gain(self, before: FloatArray, after: FloatArray) -> Power:
        """Return by how much the AUC of `after` exceeds that of `before` on the judged rows."""
        happened = self.happened[self.judged]
        first, then = (_placements(told[self.judged], happened) for told in (before, after))
        return _power(then[0] - first[0], then[1] - first[1])


def rates(codes: IntArray, happened: FloatArray, learned: BoolArray) -> FloatArray:
    """Return for every row how often it happened in its group among the rows `learned`."""
    size = int(codes.max()) + 1
    count = np.bincount(codes[learned], minlength=size)
    times = np.bincount(codes[learned], weights=happened[learned], minlength=size)
    told = (times + SMOOTHING * happened[learned].mean()) / (count + SMOOTHING)
    return np.asarray(told[codes])


def fair_rates(codes: IntArray, sample: Sample) -> FloatArray:
    """Return the rates of the rows `learned`, in which none of them has a part itself."""
    told = rates(codes, sample.happened, sample.learned)
    rows = np.flatnonzero(sample.learned)
    for fold in at_random(len(rows), INNER_FOLDS):
        others = np.zeros(len(codes), dtype=bool)
        others[rows[fold.fit]] = True
        told[rows[fold.check]] = rates(codes, sample.happened, others)[rows[fold.check]]
    return told


def power(told: FloatArray, happened: FloatArray) -> Power:
    """Return how well `told` puts rows in order of what `happened` (DeLong and others, 1988)."""
    return _power(*_placements(told, happened))


def together(columns: Sequence[FloatArray], sample: Sample) -> FloatArray:
    """Return the log odds that small trees over `columns` give each row not learned from."""
    if not columns:
        share = sample.happened[sample.learned].mean()
        return np.full(len(sample.happened), float(np.log(share / (1 - share))))
    return _boosted(columns, sample, sample.learned, ~sample.learned, SMALL_TREES)


def joined(columns: Sequence[FloatArray], sample: Sample) -> FloatArray:
    """Return the log odds of judged rows by strong columns and what the weak ones say together.

    Learned on rows on which nothing was learned before: what the weak ones say is no hindsight.
    """
    return _boosted(columns, sample, sample.added, sample.judged, SMALL_TREES | FEW)


def _boosted(
    columns: Sequence[FloatArray],
    sample: Sample,
    rows: BoolArray,
    wanted: BoolArray,
    chosen: dict[str, object],
) -> FloatArray:
    """Learn on `rows` and return the log odds of the `wanted` ones; nan for all others."""
    fixed = ("num_threads", "seed", "deterministic", "force_row_wise")
    settings = {name: params().boosting[name] for name in fixed} | chosen
    matrix: FloatArray = np.column_stack(columns)
    data = lightgbm.Dataset(matrix[rows], sample.happened[rows], params=settings)
    booster = lightgbm.train(settings, data, ROUNDS)
    odds = np.full(len(matrix), np.nan)
    odds[wanted] = booster.predict(matrix[wanted], raw_score=True, num_threads=1)
    return odds


def _placements(told: FloatArray, happened: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the share that each row outranks of the other class, ties by half: of yes, of no."""
    yes = happened == 1
    return _outranked(told[yes], told[~yes]), 1 - _outranked(told[~yes], told[yes])


def _outranked(these: FloatArray, those: FloatArray) -> FloatArray:
    ordered = np.sort(those)
    below = np.searchsorted(ordered, these, side="left")
    not_above = np.searchsorted(ordered, these, side="right")
    return np.asarray((below + not_above) / (2 * max(len(ordered), 1)))


def _power(above: FloatArray, below: FloatArray) -> Power:
    parts = [part.var(ddof=1) / len(part) for part in (above, below) if len(part) > 1]
    return Power(float(above.mean()), float(np.sqrt(sum(parts))))
