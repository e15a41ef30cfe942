"""Reasons of a probability: reason codes with text, for and against, strongest first.

The contribution of each feature to the log-odds of a row is exact (Shapley values of the trees,
Lundberg et al. 2018), and summed by code (expectations/policy/reasons.yml). A code is named only if
it is confirmed: with its features at the reference profile of the lead's peer group, the score must
move as the reason states. Contributions alone miss that where features interact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations import policy
from models.explanations.reason_text import SCHEMA, SelectedReasons, write_reasons
from models.explanations.reference_profile import MEDIAN, ReferenceProfile
from models.params import params
from models.scoring.estimators import Estimator, TrainedModel
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

Effect = Literal["raises", "lowers"]
"""The effect of a reason on the explained probability."""

EFFECTS: tuple[Effect, ...] = ("raises", "lowers")
CANDIDATES = 6
"""The strongest codes of each effect that are tested until enough are confirmed."""

CONFIRMING_DECILES = (MEDIAN, 1, 7)
"""Deciles (50%, 20%, 80%) that confirm a reason: the first alone, and all on average."""

BATCH_ROWS = 16_384
"""Rows explained together: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class CodeContributions:
    """The contributions to the log-odds of some rows, by feature and by code."""

    codes: tuple[str, ...]
    code_of_feature: NDArray[np.intp]
    """The index of each feature's code."""
    by_feature: FloatArray
    by_code: FloatArray

    @classmethod
    def sum_by_code(cls, features: Sequence[str], values: FloatArray) -> "CodeContributions":
        """Sum contributions `values`, shape (rows, features), by the codes of `features`."""
        code_by_feature = policy.reason_codes()
        codes = tuple(sorted({code_by_feature[name] for name in features}))
        code_of_feature = np.array([codes.index(code_by_feature[name]) for name in features])
        sums = np.zeros((len(values), len(codes)))
        for column, code in enumerate(code_of_feature):
            sums[:, code] += values[:, column]
        return cls(codes, code_of_feature, values, sums)


@dataclass(frozen=True)
class Explainer:
    """Gives the reasons of one model's probabilities."""

    estimator: Estimator
    profile: ReferenceProfile | None = None
    """The model's reference profile; without it (a stated prior) nothing is confirmed."""
    threads: int = 1
    requires_confirmation: bool = True
    """True if only confirmed codes are named."""

    def explain(self, table: pa.Table, effects: Sequence[Effect] = EFFECTS) -> pa.Table:
        """Return the reasons of each row of `table`: at most `max_reasons` for each of `effects`.

        Each row has at least one reason of the first of `effects`: if none is confirmed, the
        strongest is named. The result is a function of each row alone.

        Returns:
            Columns of `reason_text.SCHEMA`, ordered by `row` (the index in `table`), effect in the
            given order, and `strength_rank` (1 is the strongest).

        Raises:
            MissingColumns: `table` lacks columns that the model reads.
        """
        starts = range(0, table.num_rows, BATCH_ROWS)
        batches = [self._explain(table.slice(at, BATCH_ROWS), at, effects) for at in starts]
        return pa.concat_tables([SCHEMA.empty_table(), *batches])

    def codes(self, table: pa.Table, effect: Effect = "raises") -> pa.ListArray:
        """Return for each row the codes of its reasons of `effect`, strongest first."""
        return group_codes(self.explain(table, [effect]), table.num_rows)

    def _explain(self, table: pa.Table, first_row: int, effects: Sequence[Effect]) -> pa.Table:
        values = self.estimator.contributions(table, threads=self.threads)
        contributions = CodeContributions.sum_by_code(self.estimator.features, values)
        parts = []
        for effect in effects:
            selected = self._select(table, contributions, effect, is_first=effect == effects[0])
            parts.append(write_reasons(self.estimator, self.profile, table, selected, self.threads))
        order = np.argsort(np.concatenate([part["row"] for part in parts]), kind="stable")
        reasons = pa.concat_tables(parts).take(pa.array(order))
        return reasons.set_column(0, SCHEMA.field("row"), pc.add(reasons["row"], first_row))

    def _select(
        self, table: pa.Table, contributions: CodeContributions, effect: Effect, *, is_first: bool
    ) -> SelectedReasons:
        """Return the codes that are named for `effect`, and the strongest feature of each."""
        sign = 1 if effect == "raises" else -1
        chosen, ranked = self._choose_codes(table, contributions, sign, is_first=is_first)
        rows, at = np.nonzero(chosen)
        codes = ranked[rows, at]
        in_code = contributions.code_of_feature[None, :] == codes[:, None]
        strength = np.where(in_code, sign * contributions.by_feature[rows], -np.inf)
        features = strength.argmax(axis=1) if len(rows) else rows
        return SelectedReasons(
            effect=effect,
            rows=rows,
            strength_ranks=chosen.cumsum(axis=1)[rows, at],
            codes=np.array(contributions.codes)[codes],
            features=features,
            is_feature_confirmed=self._confirm_features(table, rows, features, sign),
            log_odds=contributions.by_code[rows, codes],
        )

    def _choose_codes(
        self, table: pa.Table, contributions: CodeContributions, sign: int, *, is_first: bool
    ) -> tuple[BoolArray, IntArray]:
        """Return which of the ranked codes of each row are named, and the ranked codes."""
        by_code = contributions.by_code
        ranked = np.argsort(-sign * by_code, axis=1, kind="stable")[:, :CANDIDATES]
        strength = sign * np.take_along_axis(by_code, ranked, axis=1)
        strongest = np.abs(by_code).max(axis=1, initial=0.0)[:, None]
        min_strength = params().min_reason_share * strongest
        is_candidate = (strength > 0) & (strength >= min_strength)
        most = params().max_reasons
        chosen = self._confirm_codes(table, contributions, ranked, is_candidate, sign, most)
        if is_first and not chosen.any(axis=1).all():
            empty = np.flatnonzero(~chosen.any(axis=1))
            rest = table.take(pa.array(empty))
            chosen[empty] = self._confirm_codes(
                rest, contributions, ranked[empty], strength[empty] > 0, sign, 1
            )
            empty = np.flatnonzero(~chosen.any(axis=1))
            # Nothing is confirmed, as for a stated prior: the strongest code of either direction.
            positive = strength[empty, 0] > 0
            best = np.where(positive, 0, np.abs(strength[empty]).argmax(axis=1))
            chosen[empty, best] = True
        return chosen, ranked

    def _confirm_features(
        self, table: pa.Table, rows: IntArray, features: IntArray, sign: int
    ) -> BoolArray:
        """Return whether each reason holds with only its named feature at the reference value."""
        model, profile = self.estimator, self.profile
        if not self.requires_confirmation or not isinstance(model, TrainedModel) or profile is None:
            return np.ones(len(rows), dtype=bool)
        matrix = model.encoder.encode(table)
        scores = model.look_up_log_odds(matrix)[rows]
        changed = matrix[rows]
        reference = profile.reference_values(profile.peer_groups(table))[rows]
        every = np.arange(len(rows))
        changed[every, features] = reference[every, features]
        return np.asarray(sign * (scores - model.look_up_log_odds(changed)) > 0)

    def _confirm_codes(
        self,
        table: pa.Table,
        contributions: CodeContributions,
        ranked: IntArray,
        is_candidate: BoolArray,
        sign: int,
        most: int,
    ) -> BoolArray:
        """Return the first confirmed candidates of each row, at most `most`."""
        model, profile = self.estimator, self.profile
        if not self.requires_confirmation or not isinstance(model, TrainedModel) or profile is None:
            return is_candidate & (is_candidate.cumsum(axis=1) <= most)
        chosen = np.zeros(is_candidate.shape, dtype=bool)
        matrix, groups = model.encoder.encode(table), profile.peer_groups(table)
        scores = model.look_up_log_odds(matrix)
        references = [profile.reference_values(groups, decile) for decile in CONFIRMING_DECILES]
        for at, codes in enumerate(ranked.T):
            rows = np.flatnonzero(is_candidate[:, at] & (chosen.sum(axis=1) < most))
            total = np.zeros(len(rows))
            for reference in references:
                in_code = contributions.code_of_feature[None, :] == codes[rows][:, None]
                changed = np.where(in_code, reference[rows], matrix[rows])
                shift = scores[rows] - model.look_up_log_odds(changed)
                if reference is references[0]:
                    confirmed = sign * shift > 0
                    rows, shift, total = rows[confirmed], shift[confirmed], total[confirmed]
                total = total + sign * shift
            chosen[rows[total > 0], at] = True
        return chosen


def group_codes(reasons: pa.Table, rows: int) -> pa.ListArray:
    """Return the codes of `reasons`, ordered as by `explain`, as a list for each of `rows` rows."""
    counts = np.bincount(reasons["row"].to_numpy(), minlength=rows)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, reasons["code"].combine_chunks())
