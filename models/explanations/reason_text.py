"""The text of a reason, for a person and for an analyst, in English and in Chinese."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations import policy
from expectations.policy_types import UNKNOWN, Reason
from models.explanations.reference_profile import ALL, PeerGroups, ReferenceProfile
from models.scoring.estimators import Estimator, TrainedModel
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "effect": pa.string(),
        "strength_rank": pa.int64(),
        "code": pa.string(),
        "feature": pa.string(),
        "level": pa.string(),
        "decile": pa.int64(),
        "log_odds": pa.float64(),
        "points": pa.float64(),
        "person_en": pa.string(),
        "person_zh": pa.string(),
        "analyst_en": pa.string(),
        "analyst_zh": pa.string(),
    }
)
"""One reason of a row. `effect`: raises or lowers the probability. `strength_rank`: 1 is the
strongest of its effect. `feature`: the feature with the largest contribution of the code. `level`:
of its value (high, low, usual, unknown, yes, no, a category, or rare), or `together` if the feature
is not confirmed without the others of the code. `decile`: the tenth of the peer group in which the
value lies, 1 to 10. `log_odds`: the contribution of the code to the log-odds of the trees.
`points`: the calibrated probability with the code less that without it, in percentage points."""

USUAL, RARE, TOGETHER = "usual", "rare", "together"
LOW_BELOW, HIGH_ABOVE = 3, 5
"""Indexes of the deciles (40% and 60%) below and above which a number is low or high."""

KEY_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class EncodedRows:
    """Rows as a trained model reads them."""

    matrix: FloatArray
    """Rows of the encoder's matrix."""
    log_odds: FloatArray
    """The trees' log-odds, before calibration."""
    peer_groups: PeerGroups
    """Of the model's reference profile; `ALL` without one."""


@dataclass(frozen=True)
class SelectedReasons:
    """The codes named; the arrays have one entry per reason."""

    effects: NDArray[np.str_]
    rows: IntArray
    strength_ranks: IntArray
    codes: NDArray[np.str_]
    features: IntArray
    """The index of the feature that represents the code."""
    is_feature_confirmed: BoolArray
    """True if that feature is confirmed alone; if not, the text names only the code as a whole."""
    log_odds: FloatArray

    @classmethod
    def concatenate(cls, parts: Sequence["SelectedReasons"]) -> "SelectedReasons":
        """Return all reasons of `parts`, in order."""
        return cls(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls))
        )


def write_reasons(
    estimator: Estimator,
    profile: ReferenceProfile | None,
    table: pa.Table,
    encoded: EncodedRows | None,
    selected: SelectedReasons,
) -> pa.Table:
    """Return the `selected` reasons of rows of `table`, with the columns of `SCHEMA`.

    Args:
        estimator: The model whose probabilities are explained.
        profile: Its reference profile; None for a stated prior.
        table: The rows.
        encoded: The same rows as the model reads them; None for a stated prior.
        selected: The reasons.
    """
    features = pa.array(np.array(estimator.features)[selected.features], pa.string())
    codes = pa.array(selected.codes, pa.string())
    levels, deciles, groups = _describe_values(estimator, profile, table, encoded, selected)
    points = 100 * _probability_contributions(estimator, table, encoded, selected)
    person_keys = [codes, features, levels]
    range_keys = [groups, features, levels, pc.cast(deciles, pa.string())]
    columns = {
        "row": selected.rows,
        "effect": pa.array(selected.effects, pa.string()),
        "strength_rank": selected.strength_ranks,
        "code": codes,
        "feature": features,
        "level": levels,
        "decile": pc.if_else(pc.equal(deciles, 0), pa.scalar(None, pa.int64()), deciles),
        "log_odds": selected.log_odds,
        "points": points,
    }
    numbers = [
        pa.array(np.char.mod("%+.3f", selected.log_odds).tolist(), pa.string()),
        pa.array(np.char.mod("%+.1f", points).tolist(), pa.string()),
    ]
    for language in ("en", "zh"):
        phrases = _Phrases(estimator, profile, language)
        columns[f"person_{language}"] = _map_distinct(person_keys, phrases.person)
        columns[f"analyst_{language}"] = pc.binary_join_element_wise(
            _map_distinct([codes, features], phrases.code_and_feature),
            _map_distinct(range_keys, phrases.value_range),
            phrases.contribution(*numbers),
            "",
        )
    return pa.table({name: pa.array(columns[name]) for name in SCHEMA.names}).cast(SCHEMA)


def _describe_values(
    estimator: Estimator,
    profile: ReferenceProfile | None,
    table: pa.Table,
    encoded: EncodedRows | None,
    selected: SelectedReasons,
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return the level, the decile (0: none) and the peer group of each reason's value."""
    count = len(selected.rows)
    if not isinstance(estimator, TrainedModel) or encoded is None or profile is None:
        empty = pa.repeat("", count)
        return empty, pa.array(np.zeros(count, dtype=np.int64)), empty
    values = encoded.matrix[selected.rows, selected.features]
    groups = encoded.peer_groups[selected.rows]
    deciles = profile.feature_deciles(groups, selected.features)
    is_category = np.isin(selected.features, estimator.encoder.categorical_indexes)
    is_flag = np.array([name.startswith("is_") for name in estimator.features])[selected.features]
    levels = np.select(
        [
            np.isnan(values),
            is_flag & (values > 0),
            is_flag,
            values > deciles[:, HIGH_ABOVE],
            values < deciles[:, LOW_BELOW],
        ],
        [UNKNOWN, "yes", "no", "high", "low"],
        USUAL,
    ).astype(object)
    for index in np.unique(selected.features[is_category]):
        here = selected.features == index
        column = table[estimator.features[index]]
        levels[here] = _category_levels(column, selected.rows[here], values[here])
    levels[~selected.is_feature_confirmed] = TOGETHER
    has_decile = ~(is_category | is_flag | np.isnan(values) | np.isnan(deciles[:, 0]))
    positions = np.where(has_decile, (deciles < values[:, None]).sum(axis=1) + 1, 0)
    return (
        pa.array(levels, pa.string()),
        pa.array(positions, pa.int64()),
        pa.array(groups, pa.string()),
    )


def _category_levels(column: pa.ChunkedArray, rows: IntArray, values: FloatArray) -> FloatArray:
    """Return the categories at `rows`; a category with too few training rows is rare."""
    texts = pc.fill_null(pc.cast(column.take(pa.array(rows)), pa.string()), UNKNOWN)
    categories = np.array(texts.to_pylist(), dtype=object)
    return np.asarray(np.where(np.isnan(values) & (categories != UNKNOWN), RARE, categories))


def _probability_contributions(
    estimator: Estimator, table: pa.Table, encoded: EncodedRows | None, selected: SelectedReasons
) -> FloatArray:
    """Return the probability with each code's contribution less that without it."""
    if isinstance(estimator, TrainedModel) and encoded is not None:
        scores = encoded.log_odds[selected.rows]
        without = estimator.calibrate(scores - selected.log_odds)
        return estimator.calibrate(scores) - without
    stated = estimator.predict(table, threads=1)[selected.rows]
    return stated - 0.5  # the band decides as a whole; its log-odds are relative to a half


def _map_distinct(keys: Sequence[pa.Array], phrase: Callable[..., str]) -> pa.Array:
    """Return `phrase` of each row of `keys`, called once for each distinct row."""
    coded = pc.binary_join_element_wise(*keys, KEY_SEPARATOR).dictionary_encode()
    texts = [phrase(*key.split(KEY_SEPARATOR)) for key in coded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(coded.indices)


@dataclass(frozen=True)
class _Phrases:
    """The phrases of one model's reasons in one language."""

    estimator: Estimator
    profile: ReferenceProfile | None
    language: str

    def person(self, code: str, feature: str, level: str) -> str:
        """Return the phrase for a person."""
        return str(getattr(_reason(code).wording(feature, level), self.language))

    def code_and_feature(self, code: str, feature: str) -> str:
        """Return the code, its meaning, and the feature that represents it."""
        if self.language == "zh":
            return f"{code}（{_reason(code).analyst.zh}）：{feature} "
        return f"{code} ({_reason(code).analyst.en}): {feature} "

    def value_range(self, group: str, feature: str, level: str, decile: str) -> str:
        """Return the range of the value: its decile in the peer group, or its category."""
        is_chinese = self.language == "zh"
        if decile == "0" or self.profile is None:
            by_prior = "由预设先验决定" if is_chinese else "by a stated prior"
            return level or by_prior
        number = int(decile)
        row = self.estimator.features.index(feature)
        bounds = [f"{value:,.6g}" for value in self.profile.deciles[group or ALL][row]]
        if number == 1:
            span = f"不高于 {bounds[0]}" if is_chinese else f"up to {bounds[0]}"
        elif number > len(bounds):
            span = f"高于 {bounds[-1]}" if is_chinese else f"above {bounds[-1]}"
        else:
            span = f"{bounds[number - 2]} {'至' if is_chinese else 'to'} {bounds[number - 1]}"
        if is_chinese:
            return f"{span}（同类线索的第 {number} 个十分位）"
        return f"{span} (decile {number} of its peer group)"

    def contribution(self, log_odds: pa.Array, points: pa.Array) -> pa.Array:
        """Return the contribution of the code, in log-odds of the trees and in points.

        Args:
            log_odds: With sign and three decimals.
            points: With sign and one decimal.
        """
        form = "；对数几率 %+.3f，概率约 %+.1f 个百分点"
        if self.language == "en":
            form = "; %+.3f log-odds, about %+.1f points"
        before, between, after = form.replace("%+.1f", "%+.3f").split("%+.3f")
        joined = pc.binary_join_element_wise(before, log_odds, between, points, after, "")
        return pa.array(joined, pa.string()) if isinstance(joined, pa.Scalar) else joined


def _reason(code: str) -> Reason:
    return policy.reason_by_code()[code]
