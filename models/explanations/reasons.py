"""Reasons of a probability: reason codes with text, for and against, strongest first.

The contribution of each feature to the log-odds of a row is exact (Shapley values of the trees,
Lundberg et al. 2018), and summed by code (expectations/policy/reasons.yml). A code is named only if
it is confirmed: with its features at the reference profile of the lead's peer group, the score must
move as the reason states. Contributions alone miss that where features interact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations import policy
from models.explanations.reason_text import (
    SCHEMA,
    EncodedRows,
    SelectedReasons,
    write_reasons,
)
from models.explanations.reference_profile import ALL, MEDIAN, ReferenceProfile
from models.params import params
from models.scoring.estimators import Estimator, TrainedModel
from models.scoring.substitution import FeatureGroups, GroupScores, Substitution
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

Effect = Literal["raises", "lowers"]
"""The effect of a reason on the explained probability."""

EFFECTS: tuple[Effect, ...] = ("raises", "lowers")
CANDIDATES = 6
"""The strongest codes of each effect that are tested until enough are confirmed."""

CONFIRMING_DECILES = (MEDIAN, 1, 7)
"""Deciles (50%, 20%, 80%) that confirm a reason: the first alone, and all on average."""

BATCH_ROWS = 65_536
"""Rows explained together: bounds the memory, never changes the result."""
PORTION_ROWS = 512
"""Rows whose reasons are confirmed together: what they share stays in a processor's cache."""


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

    def take(self, rows: slice) -> "CodeContributions":
        """Return the contributions of some of the rows."""
        return replace(self, by_feature=self.by_feature[rows], by_code=self.by_code[rows])


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
        encoded = self._encode(table)
        contributions = self._sum_contributions(table, encoded)
        reference = self._build_reference(encoded, contributions.code_of_feature)
        selected: dict[Effect, list[SelectedReasons]] = {effect: [] for effect in effects}
        for start in range(0, table.num_rows, PORTION_ROWS):
            rows = slice(start, start + PORTION_ROWS)
            part = contributions.take(rows)
            comparison = None if reference is None else reference.compare(rows)
            for effect in effects:
                chosen = _select(part, comparison, effect, is_first=effect == effects[0])
                selected[effect].append(replace(chosen, rows=chosen.rows + start))
        every = SelectedReasons.concatenate([part for each in effects for part in selected[each]])
        reasons = write_reasons(self.estimator, self.profile, table, encoded, every)
        order = np.argsort(every.rows, kind="stable")
        reasons = reasons.take(pa.array(order))
        return reasons.set_column(0, SCHEMA.field("row"), pc.add(reasons["row"], first_row))

    def _encode(self, table: pa.Table) -> EncodedRows | None:
        """Return the rows as the model reads them; None for a stated prior."""
        model, profile = self.estimator, self.profile
        if not isinstance(model, TrainedModel):
            return None
        matrix = model.encoder.encode(table)
        return EncodedRows(
            matrix=matrix,
            log_odds=model.predict_log_odds(matrix, threads=self.threads),
            peer_groups=np.full(len(matrix), ALL)
            if profile is None
            else profile.peer_groups(table),
        )

    def _sum_contributions(self, table: pa.Table, encoded: EncodedRows | None) -> CodeContributions:
        if isinstance(self.estimator, TrainedModel) and encoded is not None:
            values = self.estimator.matrix_contributions(encoded.matrix)
        else:
            values = self.estimator.contributions(table, threads=self.threads)
        return CodeContributions.sum_by_code(self.estimator.features, values)

    def _build_reference(
        self, encoded: EncodedRows | None, code_of_feature: IntArray
    ) -> "_Reference | None":
        """Return what reasons are confirmed by; None where nothing is confirmed."""
        model, profile = self.estimator, self.profile
        if not (self.requires_confirmation and isinstance(model, TrainedModel)):
            return None
        if encoded is None or profile is None:
            return None
        features = model.group_features(code_of_feature)
        names, group = np.unique(encoded.peer_groups, return_inverse=True)
        deciles = {
            decile: features.score(profile.reference_values(names, decile))
            for decile in CONFIRMING_DECILES
        }
        return _Reference(features, encoded.matrix, deciles, group)


@dataclass(frozen=True)
class _Reference:
    """Rows, and the reference profile of their peer groups."""

    features: FeatureGroups
    """The features of a code are a group."""
    matrix: FloatArray
    deciles: Mapping[int, GroupScores]
    """Decile -> reference values, a row for each peer group."""
    group: IntArray
    """The peer group of each row."""

    def compare(self, rows: slice) -> "_Comparison":
        """Return the comparison of some rows with the reference."""
        substitution = Substitution(self.features, self.matrix[rows])
        return _Comparison(substitution, self.deciles, self.group[rows])


@dataclass(frozen=True)
class _Comparison:
    """Rows whose scores are compared with the ones at the reference profile of their peer group."""

    substitution: Substitution
    deciles: Mapping[int, GroupScores]
    group: IntArray

    def compare_codes(self, rows: IntArray, codes: IntArray, decile: int) -> FloatArray:
        """Return by how much each row's own values of a code raise its log-odds."""
        changed = self.substitution.change_groups(
            rows, codes, self.deciles[decile], self.group[rows]
        )
        return np.asarray(self.substitution.scores[rows] - changed)

    def compare_features(self, rows: IntArray, features: IntArray) -> FloatArray:
        """Return by how much each row's own value of a feature raises its log-odds."""
        changed = self.substitution.change_features(
            rows, features, self.deciles[MEDIAN], self.group[rows]
        )
        return np.asarray(self.substitution.scores[rows] - changed)


def _select(
    contributions: CodeContributions,
    comparison: _Comparison | None,
    effect: Effect,
    *,
    is_first: bool,
) -> SelectedReasons:
    """Return the codes that are named for `effect`, and the strongest feature of each.

    Args:
        contributions: Of the rows.
        comparison: What confirms a reason; None: every reason counts as confirmed.
        effect: The effect of the reasons.
        is_first: Whether each row has a reason of this effect in any case.
    """
    sign = 1 if effect == "raises" else -1
    chosen, ranked = _choose_codes(contributions, comparison, sign, is_first=is_first)
    rows, at = np.nonzero(chosen)
    codes = ranked[rows, at]
    in_code = contributions.code_of_feature[None, :] == codes[:, None]
    strength = np.where(in_code, sign * contributions.by_feature[rows], -np.inf)
    features = strength.argmax(axis=1) if len(rows) else rows
    is_confirmed = np.ones(len(rows), np.bool_)
    if comparison is not None:
        is_confirmed = sign * comparison.compare_features(rows, features) > 0
    return SelectedReasons(
        effects=np.full(len(rows), effect),
        rows=rows,
        strength_ranks=chosen.cumsum(axis=1)[rows, at],
        codes=np.array(contributions.codes)[codes],
        features=features,
        is_feature_confirmed=is_confirmed,
        log_odds=contributions.by_code[rows, codes],
    )


def _choose_codes(
    contributions: CodeContributions,
    comparison: _Comparison | None,
    sign: int,
    *,
    is_first: bool,
) -> tuple[BoolArray, IntArray]:
    """Return which of the ranked codes of each row are named, and the ranked codes."""
    by_code = contributions.by_code
    ranked = np.argsort(-sign * by_code, axis=1, kind="stable")[:, :CANDIDATES]
    strength = sign * np.take_along_axis(by_code, ranked, axis=1)
    strongest = np.abs(by_code).max(axis=1, initial=0.0)[:, None]
    min_strength = params().min_reason_share * strongest
    is_candidate = (strength > 0) & (strength >= min_strength)
    chosen = _confirm_codes(comparison, ranked, is_candidate, sign, params().max_reasons)
    if is_first and not chosen.any(axis=1).all():
        is_empty = np.asarray(~chosen.any(axis=1))[:, None]
        chosen |= _confirm_codes(comparison, ranked, (strength > 0) & is_empty, sign, 1)
        empty = np.flatnonzero(~chosen.any(axis=1))
        # Nothing is confirmed, as for a stated prior: the strongest code of either direction.
        positive = strength[empty, 0] > 0
        best = np.where(positive, 0, np.abs(strength[empty]).argmax(axis=1))
        chosen[empty, best] = True
    return chosen, ranked


def _confirm_codes(
    comparison: _Comparison | None,
    ranked: IntArray,
    is_candidate: BoolArray,
    sign: int,
    most: int,
) -> BoolArray:
    """Return the first confirmed candidates of each row, at most `most`."""
    if comparison is None:
        return np.asarray(is_candidate & (is_candidate.cumsum(axis=1) <= most))
    chosen = np.zeros(is_candidate.shape, dtype=bool)
    for at, codes in enumerate(ranked.T):
        rows = np.flatnonzero(is_candidate[:, at] & (chosen.sum(axis=1) < most))
        total = np.zeros(len(rows))
        for decile in CONFIRMING_DECILES:
            shift = sign * comparison.compare_codes(rows, codes[rows], decile)
            total = total + shift
            if decile == MEDIAN:
                rows, total = rows[shift > 0], total[shift > 0]
        chosen[rows[total > 0], at] = True
    return chosen


def group_codes(reasons: pa.Table, rows: int) -> pa.ListArray:
    """Return the codes of `reasons`, ordered as by `explain`, as a list for each of `rows` rows."""
    counts = np.bincount(reasons["row"].to_numpy(), minlength=rows)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, reasons["code"].combine_chunks())
