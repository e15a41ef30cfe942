"""The words of a reason, for a person and for an analyst, in English and in Chinese."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.policy_types import UNKNOWN, Reason
from models.explanations.reference_profile import ALL, Ordinary
from models.scoring.estimators import Estimator, Trained
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "effect": pa.string(),
        "place": pa.int64(),
        "code": pa.string(),
        "feature": pa.string(),
        "level": pa.string(),
        "tenth": pa.int64(),
        "log_odds": pa.float64(),
        "points": pa.float64(),
        "person_en": pa.string(),
        "person_zh": pa.string(),
        "analyst_en": pa.string(),
        "analyst_zh": pa.string(),
    }
)
"""A reason of a row. `effect`: raises or lowers the probability. `place`: 1 is the strongest.
`feature`: the one of the code that counted most. `level`: of its value (high, low, usual, unknown,
yes, no, a category, or rare), or `together` where it did not count by itself. `tenth`: in which
tenth of leads of its kind the value lies, 1 to 10. `log_odds`: what the code added to the log-odds
of the trees. `points`: by how much the calibrated probability is higher with it than without, in
points of 100."""

USUAL, RARE, TOGETHER = "usual", "rare", "together"
LOW_BELOW, HIGH_ABOVE = 3, 5
"""Places of the borders (of 40% and 60%) below and above which a number is low or high."""

BETWEEN_KEYS = "\x1f"


@dataclass(frozen=True)
class Named:
    """Which codes are named for one effect; the arrays have one entry per reason."""

    effect: str
    rows: IntArray
    places: IntArray
    codes: "np.ndarray[tuple[int], np.dtype[np.str_]]"
    features: IntArray
    """The feature, by its place among the model's, that stands for the code."""
    stands_alone: BoolArray
    """Whether that feature holds by itself; where not, only the code as a whole is named."""
    log_odds: FloatArray


def in_words(
    estimator: Estimator,
    ordinary: Ordinary | None,
    table: pa.Table,
    named: Named,
    threads: int,
) -> pa.Table:
    """Return the reasons `named` of rows of `table`, with the columns of `SCHEMA`.

    Args:
        estimator: Whose probabilities are explained.
        ordinary: What its leads were like; None for a stated prior.
        table: The rows.
        named: What is named of them.
        threads: Threads of LightGBM; they change nothing.
    """
    features = pa.array(np.array(estimator.features)[named.features], pa.string())
    codes = pa.array(named.codes, pa.string())
    levels, tenths, kinds = _seen(estimator, ordinary, table, named)
    points = 100 * _chance_added(estimator, table, named, threads)
    person = [codes, features, levels]
    bands = [kinds, features, levels, pc.cast(tenths, pa.string())]
    columns = {
        "row": named.rows,
        "effect": pa.repeat(named.effect, len(codes)),
        "place": named.places,
        "code": codes,
        "feature": features,
        "level": levels,
        "tenth": pc.if_else(pc.equal(tenths, 0), pa.scalar(None, pa.int64()), tenths),
        "log_odds": named.log_odds,
        "points": points,
    }
    for language in ("en", "zh"):
        said = _Sayings(estimator, ordinary, language)
        columns[f"person_{language}"] = _looked_up(person, said.person)
        columns[f"analyst_{language}"] = pc.binary_join_element_wise(
            _looked_up([codes, features], said.feature),
            _looked_up(bands, said.band),
            said.weight(named.log_odds, points),
            "",
        )
    return pa.table({name: pa.array(columns[name]) for name in SCHEMA.names}).cast(SCHEMA)


def _seen(
    estimator: Estimator, ordinary: Ordinary | None, table: pa.Table, named: Named
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return of each named value its level, its tenth (0: none) and the kind of its lead."""
    count = len(named.rows)
    if not isinstance(estimator, Trained) or ordinary is None:
        nothing = pa.repeat("", count)
        return nothing, pa.array(np.zeros(count, dtype=np.int64)), nothing
    values = estimator.encoder.matrix(table)[named.rows, named.features]
    kinds = ordinary.kinds(table)[named.rows]
    borders = ordinary.borders_of(kinds, named.features)
    is_category = np.isin(named.features, estimator.encoder.categorical_indexes)
    is_flag = np.array([name.startswith("is_") for name in estimator.features])[named.features]
    levels = np.select(
        [
            np.isnan(values),
            is_flag & (values > 0),
            is_flag,
            values > borders[:, HIGH_ABOVE],
            values < borders[:, LOW_BELOW],
        ],
        [UNKNOWN, "yes", "no", "high", "low"],
        USUAL,
    ).astype(object)
    for index in np.unique(named.features[is_category]):
        here = named.features == index
        levels[here] = _categories(table[estimator.features[index]], named.rows[here], values[here])
    levels[~named.stands_alone] = TOGETHER
    has_tenth = ~(is_category | is_flag | np.isnan(values) | np.isnan(borders[:, 0]))
    tenths = np.where(has_tenth, (borders < values[:, None]).sum(axis=1) + 1, 0)
    return pa.array(levels, pa.string()), pa.array(tenths, pa.int64()), pa.array(kinds, pa.string())


def _categories(column: pa.ChunkedArray, rows: IntArray, values: FloatArray) -> FloatArray:
    """Return the categories at `rows`: what too few leads had to be learned from is rare."""
    told = pc.fill_null(pc.cast(column.take(pa.array(rows)), pa.string()), UNKNOWN)
    said = np.array(told.to_pylist(), dtype=object)
    return np.asarray(np.where(np.isnan(values) & (said != UNKNOWN), RARE, said))


def _chance_added(estimator: Estimator, table: pa.Table, named: Named, threads: int) -> FloatArray:
    """Return by how much the probability is higher with what each code added than without it."""
    if isinstance(estimator, Trained):
        stands = estimator.log_odds(estimator.encoder.matrix(table), threads=threads)[named.rows]
        return estimator.calibrated(stands) - estimator.calibrated(stands - named.log_odds)
    assumed = estimator.predict(table, threads=threads)[named.rows]
    return assumed - 0.5  # a band decides as a whole, and its log-odds are counted from even odds


def _looked_up(keys: Sequence[pa.Array], say: Callable[..., str]) -> pa.Array:
    """Return what `say` makes of each row of `keys`, asked once for each that differs."""
    coded = pc.binary_join_element_wise(*keys, BETWEEN_KEYS).dictionary_encode()
    said = [say(*key.split(BETWEEN_KEYS)) for key in coded.dictionary.to_pylist()]
    return pa.array(said, pa.string()).take(coded.indices)


@dataclass(frozen=True)
class _Sayings:
    """How one model's reasons are said in one language."""

    estimator: Estimator
    ordinary: Ordinary | None
    language: str

    def person(self, code: str, feature: str, level: str) -> str:
        """Return what a person is told."""
        return str(getattr(_reason(code).wording(feature, level), self.language))

    def feature(self, code: str, feature: str) -> str:
        """Return the code, what it is, and the feature that stands for it."""
        if self.language == "zh":
            return f"{code}（{_reason(code).analyst.zh}）：{feature} "
        return f"{code} ({_reason(code).analyst.en}): {feature} "

    def band(self, kind: str, feature: str, level: str, tenth: str) -> str:
        """Return where the value lies: its tenth among leads of its kind, or its category."""
        is_chinese = self.language == "zh"
        if tenth == "0" or self.ordinary is None:
            none = "由预设先验决定" if is_chinese else "by a stated prior"
            return level or none
        place = int(tenth)
        row = self.estimator.features.index(feature)
        ends = [f"{value:,.6g}" for value in self.ordinary.borders[kind or ALL][row]]
        if place == 1:
            span = f"不高于 {ends[0]}" if is_chinese else f"up to {ends[0]}"
        elif place > len(ends):
            span = f"高于 {ends[-1]}" if is_chinese else f"above {ends[-1]}"
        else:
            span = f"{ends[place - 2]} {'至' if is_chinese else 'to'} {ends[place - 1]}"
        if is_chinese:
            return f"{span}（同类线索的第 {place} 个十分位）"
        return f"{span} (tenth {place} of 10 of its kind)"

    def weight(self, log_odds: FloatArray, points: FloatArray) -> pa.Array:
        """Return what the code added, in log-odds of the trees and in points."""
        form = "；对数几率 %+.3f，概率约 %+.1f 个百分点"
        if self.language == "en":
            form = "; %+.3f log-odds, about %+.1f points"
        texts = np.char.mod("%+.3f", log_odds), np.char.mod("%+.1f", points)
        before, between, after = form.replace("%+.1f", "%+.3f").split("%+.3f")
        pieces = [pa.array(text.tolist(), pa.string()) for text in texts]
        joined = pc.binary_join_element_wise(before, pieces[0], between, pieces[1], after, "")
        return pa.array(joined, pa.string()) if isinstance(joined, pa.Scalar) else joined


def _reason(code: str) -> Reason:
    return policy.reason_by_code()[code]
