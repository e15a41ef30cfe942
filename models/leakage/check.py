"""The leak check: before training, each column is tested for what was known only afterwards.

| test | a leak ... |
| --- | --- |
| `univariate_auc` | ranks nearly all rows correctly alone |
| `incremental_gain` | corrects most of the order that all weaker columns together get wrong |
| `quasi_separation` | determines the outcome of rows on which the other columns are uncertain |
| `missingness_auc` | is missing by outcome |
| `missing_label_overlap` | is missing where the label is |
| `future_dates` | has dates after the lead's day |
| `auc_decay` | discriminates on early leads and not on the latest |
| `look_ahead` | correlates with the outcomes of later days |

The limits, and the columns that are allowed nevertheless, are in `expectations/policy/leaks.yml`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.policy_types import AllowedLeak
from models.errors import LeakingFeatures
from models.features.encoder import PAIR_FEATURES
from models.leakage.columns import Column, Groupings
from models.leakage.incremental import run_incremental_tests
from models.leakage.lookahead import EntityDays, group_by_entity_day, run_lookahead_test
from models.leakage.univariate import (
    LeakSample,
    LeakTestResult,
    find_best_grouping,
    has_both_classes,
    run_date_test,
    run_missing_label_test,
    run_univariate_tests,
)
from models.params import Features, params
from pipelines.core.arrays import FloatArray, IntArray

LEAD_DAY = "business_date"
LABEL = "label"
LABEL_DAY = "label_known_on"
INFERRED = "is_inferred"
"""Marks a label from reject inference (models/training/reject_inference.py)."""
ENTITIES = (("institution_id",), ("institution_id", "product_id"), ("channel_id",))
"""Key columns of the entities whose history a column can be."""
PARTS = (2, 1, 2)
"""Shares of the training, increment and evaluation rows."""


@dataclass(frozen=True)
class Leak:
    """A column that fails a test, with the statistic, the limit and a description."""

    name: str
    test: str
    value: float
    limit: float
    description: str


def find_leaks(table: pa.Table, features: Features) -> list[Leak]:
    """Return the leaks among the `features` of `table`.

    A pure function of its arguments and the policy.

    Args:
        table: Rows as for `check_columns`, with the columns of `features`.
        features: The features of a model.
    """
    return select_leaks(check_features(table, features))


def select_leaks(results: Iterable[LeakTestResult]) -> list[Leak]:
    """Return the failed tests as leaks, by column and test."""
    leaks = [
        Leak(r.name, r.test, round(r.value, 6), r.limit, r.description)
        for r in results
        if r.is_leak
    ]
    return sorted(leaks, key=lambda leak: (leak.name, leak.test))


def require_no_leaks(model: str, table: pa.Table, features: Features) -> dict[str, Any]:
    """Return the result of the leak check of a model's features, for its manifest and card.

    Returns:
        `checked` (number of columns), `flagged` (empty) and `allowed` (each leak that the policy
        allows on the day of the newest label, with who allowed it, why and until when).

    Raises:
        LeakingFeatures: A column leaks and is not allowed.
    """
    results = check_features(table, features)
    allowed, refused = [], []
    for leak in select_leaks(results):
        allowance = _find_allowance(leak, _newest_day(table))
        if allowance is None:
            refused.append(leak)
        else:
            allowed.append(asdict(leak) | _describe_allowance(allowance))
    if refused:
        raise LeakingFeatures(model, [asdict(leak) for leak in refused])
    return {"checked": len({r.name for r in results}), "flagged": [], "allowed": allowed}


def check_features(table: pa.Table, features: Features) -> list[LeakTestResult]:
    """Return every test of each feature that `table` has, or that is computed from it.

    Rows with an inferred outcome are excluded: the columns that it was inferred from would fail.
    """
    table = _without_inferred(table)
    computed = {n: PAIR_FEATURES[n](table) for n in features.names if n in PAIR_FEATURES}
    stored = {n: table[n].combine_chunks() for n in features.names if n in table.column_names}
    columns = {n: pa.array(values, from_pandas=True) for n, values in computed.items()}
    return check_columns(table, columns | stored)


def check_columns(rows: pa.Table, columns: Mapping[str, pa.Array]) -> list[LeakTestResult]:
    """Return every test of each column.

    With fewer rows than the policy asks for, only dates and missing labels are tested.

    Args:
        rows: In a fixed order, with `label` (0.0, 1.0; null: not known) and, where available,
            `business_date`, `institution_id`, `product_id` and `channel_id`; a test without the
            columns that it needs is left out.
        columns: By name, as long as `rows`.
    """
    no_label = np.asarray(rows[LABEL].is_null().to_numpy(), dtype=np.bool_)
    tested = [Column(name, values) for name, values in columns.items()]
    results = [r for column in tested for r in run_missing_label_test(column, no_label)]
    labelled = np.flatnonzero(~no_label)
    drawn = _draw_rows(labelled)
    sample = _split_sample(rows.take(drawn))
    groupings = {c.name: Groupings(c.take(drawn), sample.lead_days) for c in tested}
    results += [r for one in groupings.values() for r in run_date_test(one)]
    if not all(has_both_classes(sample.outcome[part]) for part in sample.parts):
        return results
    best = {n: found for n, one in groupings.items() if (found := find_best_grouping(one, sample))}
    for name, grouping in best.items():
        results += run_univariate_tests(groupings[name], sample, grouping)
    entity_days = _group_entities(rows.take(labelled))
    results += run_lookahead_test((c.take(labelled) for c in tested), entity_days)
    failed = frozenset(result.name for result in results if result.is_leak)
    return results + list(run_incremental_tests(groupings, sample, best, failed))


def _without_inferred(table: pa.Table) -> pa.Table:
    if INFERRED not in table.column_names:
        return table
    return table.filter(pc.invert(table[INFERRED]))


def _draw_rows(labelled: IntArray) -> IntArray:
    """Return at most `max_rows` of the rows, drawn by a fixed seed, in their order."""
    most = policy.leaks().max_rows
    return np.sort(np.random.default_rng(_seed()).permutation(labelled)[:most])


def _seed() -> int:
    seed: int = params().boosting["seed"]
    return seed


def _split_sample(drawn: pa.Table) -> LeakSample:
    outcome = np.asarray(drawn[LABEL].to_numpy(), dtype=np.float64)
    position = np.random.default_rng(_seed()).permutation(drawn.num_rows) % sum(PARTS)
    first, second, _ = np.cumsum(PARTS)
    parts = (position < first, (position >= first) & (position < second), position >= second)
    return LeakSample(outcome, _lead_days(drawn), *parts)


def _lead_days(table: pa.Table) -> FloatArray | None:
    if LEAD_DAY not in table.column_names:
        return None
    return Column(LEAD_DAY, table[LEAD_DAY].combine_chunks()).days


def _group_entities(labelled: pa.Table) -> list[EntityDays]:
    days = _lead_days(labelled)
    if days is None:
        return []
    outcome = np.asarray(labelled[LABEL].to_numpy(), dtype=np.float64)
    day = (days - days.min()).astype(np.int64)
    entities = [keys for keys in ENTITIES if set(keys) <= set(labelled.column_names)]
    return [group_by_entity_day(_encode_keys(labelled, keys), day, outcome) for keys in entities]


def _encode_keys(table: pa.Table, keys: Iterable[str]) -> IntArray:
    joined = pc.binary_join_element_wise(
        *(pc.cast(table[key], pa.string()) for key in keys), "\x1f"
    )
    codes = joined.combine_chunks().dictionary_encode().indices.fill_null(0)
    return np.asarray(codes.to_numpy(), dtype=np.int64)


def _newest_day(table: pa.Table) -> date:
    column = LABEL_DAY if LABEL_DAY in table.column_names else LEAD_DAY
    newest: date = pc.max(table[column]).as_py()
    return newest


def _find_allowance(leak: Leak, day: date) -> AllowedLeak | None:
    entries = [entry for entry in policy.leaks().allowed if entry.holds(leak.name, leak.test, day)]
    return max(entries, key=lambda entry: entry.until, default=None)


def _describe_allowance(allowance: AllowedLeak) -> dict[str, str]:
    return {"by": allowance.by, "why": allowance.why, "until": f"{allowance.until}"}
