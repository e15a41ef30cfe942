"""Why a probability is what it is: reason codes with words, for and against, strongest first.

What each feature added to the log-odds of a row is exact (Shapley values of the trees, Lundberg et
al. 2018), and summed by code (expectations/policy/reasons.yml). A code is named only if it is also
true by itself: were its features ordinary for a lead of this kind (models/explanations/reference_profile.py), the score
would move the way that the reason says. Contributions alone miss that where features act together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from models.explanations.reason_text import SCHEMA, Named, in_words
from models.explanations.reference_profile import MEDIAN, Ordinary
from models.params import params
from models.scoring.estimators import Estimator, Trained
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

Effect = Literal["raises", "lowers"]
"""What a reason does to the probability that is explained."""

EFFECTS: tuple[Effect, ...] = ("raises", "lowers")
CANDIDATES = 6
"""So many of the strongest codes are tried for each effect until enough are confirmed."""

SPREAD = (MEDIAN, 1, 7)
"""Borders of tenths (50%, 20%, 80%) that a reason must hold against: the first, and on average."""

ROWS_AT_ONCE = 16_384
"""Rows explained together: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class Weighed:
    """What the features of some rows added to their log-odds, by feature and by code."""

    codes: tuple[str, ...]
    code_of: "np.ndarray[tuple[int], np.dtype[np.intp]]"
    """Feature -> place of its code."""
    by_feature: FloatArray
    by_code: FloatArray

    @classmethod
    def of(cls, features: Sequence[str], values: FloatArray) -> "Weighed":
        """Sum contributions `values`, shape (rows, features), by the codes of `features`."""
        named = policy.reason_codes()
        codes = tuple(sorted({named[name] for name in features}))
        code_of = np.array([codes.index(named[name]) for name in features])
        sums = np.zeros((len(values), len(codes)))
        for column, code in enumerate(code_of):
            sums[:, code] += values[:, column]
        return cls(codes, code_of, values, sums)


@dataclass(frozen=True)
class Explainer:
    """Names the reasons of one model's probabilities."""

    estimator: Estimator
    ordinary: Ordinary | None = None
    """What the model's leads were like; without it (a stated prior) nothing is confirmed."""
    threads: int = 1
    is_confirmed: bool = True
    """Whether only codes that are true by themselves are named."""

    def explain(self, table: pa.Table, effects: Sequence[Effect] = EFFECTS) -> pa.Table:
        """Return the reasons of each row of `table`: at most `most_reasons` for each of `effects`.

        Each row has at least one reason of the first of `effects`: where none is confirmed, the
        strongest stands. The result is a function of each row alone.

        Returns:
            Columns of `reason_words.SCHEMA`, ordered by `row` (the place in `table`), effect in the
            order asked for, and `place` (1 is the strongest).

        Raises:
            MissingColumns: `table` lacks columns that the model looks at.
        """
        starts = range(0, table.num_rows, ROWS_AT_ONCE)
        parts = [self._portion(table.slice(at, ROWS_AT_ONCE), at, effects) for at in starts]
        return pa.concat_tables([SCHEMA.empty_table(), *parts])

    def codes(self, table: pa.Table, effect: Effect = "raises") -> pa.ListArray:
        """Return for each row the codes of what spoke most for `effect`, strongest first."""
        return codes_by_row(self.explain(table, [effect]), table.num_rows)

    def _portion(self, table: pa.Table, first: int, effects: Sequence[Effect]) -> pa.Table:
        contributions = self.estimator.contributions(table, threads=self.threads)
        weighed = Weighed.of(self.estimator.features, contributions)
        parts = []
        for effect in effects:
            named = self._named(table, weighed, effect, effects[0])
            parts.append(in_words(self.estimator, self.ordinary, table, named, self.threads))
        order = np.argsort(np.concatenate([part["row"] for part in parts]), kind="stable")
        told = pa.concat_tables(parts).take(pa.array(order))
        return told.set_column(0, SCHEMA.field("row"), pc.add(told["row"], first))

    def _named(self, table: pa.Table, weighed: Weighed, effect: Effect, first: Effect) -> Named:
        """Return which codes are named for `effect`, and the feature that stands for each."""
        sign = 1 if effect == "raises" else -1
        ranked = np.argsort(-sign * weighed.by_code, axis=1, kind="stable")[:, :CANDIDATES]
        strong = sign * np.take_along_axis(weighed.by_code, ranked, axis=1)
        most = np.abs(weighed.by_code).max(axis=1, initial=0.0)[:, None]
        speaks = (strong > 0) & (strong >= params().least_share_of_a_reason * most)
        chosen = self._chosen(table, weighed, ranked, speaks, sign, params().most_reasons)
        if effect == first and not chosen.any(axis=1).all():
            none = np.flatnonzero(~chosen.any(axis=1))
            some = table.take(pa.array(none))
            chosen[none] = self._chosen(some, weighed, ranked[none], strong[none] > 0, sign, 1)
            none = np.flatnonzero(~chosen.any(axis=1))
            # Nothing holds, as where a stated prior decides: what weighs most, whichever way.
            place = np.where(strong[none, 0] > 0, 0, np.abs(strong[none]).argmax(axis=1))
            chosen[none, place] = True
        rows, at = np.nonzero(chosen)
        codes = ranked[rows, at]
        of_code = weighed.code_of[None, :] == codes[:, None]
        strength = np.where(of_code, sign * weighed.by_feature[rows], -np.inf)
        place = chosen.cumsum(axis=1)[rows, at]
        features = strength.argmax(axis=1) if len(rows) else rows
        return Named(
            effect=effect,
            rows=rows,
            places=place,
            codes=np.array(weighed.codes)[codes],
            features=features,
            stands_alone=self._stands_alone(table, rows, features, sign),
            log_odds=weighed.by_code[rows, codes],
        )

    def _stands_alone(
        self, table: pa.Table, rows: IntArray, features: IntArray, sign: int
    ) -> BoolArray:
        """Return whether each reason holds where only the feature of its words is ordinary."""
        model, ordinary = self.estimator, self.ordinary
        if not self.is_confirmed or not isinstance(model, Trained) or ordinary is None:
            return np.ones(len(rows), dtype=bool)
        matrix = model.encoder.matrix(table)
        stands = model.log_odds(matrix, threads=self.threads)[rows]
        changed, usual = matrix[rows], ordinary.of(ordinary.kinds(table))[rows]
        each = np.arange(len(rows))
        changed[each, features] = usual[each, features]
        return np.asarray(sign * (stands - model.log_odds(changed, threads=self.threads)) > 0)

    def _chosen(
        self,
        table: pa.Table,
        weighed: Weighed,
        ranked: IntArray,
        speaks: BoolArray,
        sign: int,
        wanted: int,
    ) -> BoolArray:
        """Return which of the candidates are named: the first that hold, as many as are wanted."""
        model, ordinary = self.estimator, self.ordinary
        if not self.is_confirmed or not isinstance(model, Trained) or ordinary is None:
            return speaks & (speaks.cumsum(axis=1) <= wanted)
        chosen = np.zeros(speaks.shape, dtype=bool)
        matrix, kinds = model.encoder.matrix(table), ordinary.kinds(table)
        stands = model.log_odds(matrix, threads=self.threads)
        usual = [ordinary.of(kinds, tenth) for tenth in SPREAD]
        for at, codes in enumerate(ranked.T):
            rows = np.flatnonzero(speaks[:, at] & (chosen.sum(axis=1) < wanted))
            total = np.zeros(len(rows))
            for other in usual:
                which = weighed.code_of[None, :] == codes[rows][:, None]
                changed = np.where(which, other[rows], matrix[rows])
                moved = stands[rows] - model.log_odds(changed, threads=self.threads)
                if other is usual[0]:
                    holds = sign * moved > 0
                    rows, moved, total = rows[holds], moved[holds], total[holds]
                total = total + sign * moved
            chosen[rows[total > 0], at] = True
        return chosen


def codes_by_row(told: pa.Table, rows: int) -> pa.ListArray:
    """Return the codes of `told`, in the order of `explain`, as a list for each of `rows` rows."""
    counts = np.bincount(told["row"].to_numpy(), minlength=rows)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, told["code"].combine_chunks())
