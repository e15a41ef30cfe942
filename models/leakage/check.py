"""The leak check: each column is tried, before training, for what it could know only afterwards.

What good columns never do: rank nearly all rows rightly alone, put right most of what all the
others leave wrong, be certain where the others aren't, be missing as the outcome goes, bear a date
after the lead's, know nothing any more of the latest leads, follow outcomes that came later. The
limits, and columns that are allowed all the same, are in `expectations/policy/leaks.yml`.
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
from models.leakage.columns import Column
from models.leakage.incremental import beyond_the_rest
from models.leakage.lookahead import Ledger, ahead, ledger
from models.leakage.power import Sample
from models.leakage.univariate import Trial, absent, alone, by_itself, is_enough, late
from models.leakage.views import Views
from models.params import Features, params
from pipelines.core.arrays import FloatArray, IntArray

LEAD_DAY = "business_date"
LABEL = "label"
LABEL_DAY = "label_known_on"
INFERRED = "is_inferred"
"""Whether a row's outcome was put in for one who got no loan (models/training/reject_inference.py)."""
OWNERS = (("institution_id",), ("institution_id", "product_id"), ("channel_id",))
"""Columns that say whose history a column can be."""
PARTS = (2, 1, 2)
"""Shares of the rows to learn from, to learn from what one more column adds, and to judge by."""


@dataclass(frozen=True)
class Leak:
    """A column that fails a test: which, by which figure, against which limit, and in words."""

    name: str
    test: str
    figure: float
    limit: float
    words: str


def check(table: pa.Table, features: Features) -> list[Leak]:
    """Return where `features` know in `table` what could be known only afterwards.

    A pure function of its arguments and the policy.

    Args:
        table: Rows as for `tried`, with the columns of `features`.
        features: What a model would look at.
    """
    return leaks_among(tried_features(table, features))


def leaks_among(trials: Iterable[Trial]) -> list[Leak]:
    """Return the trials that found a leak, by column and test."""
    found = (t for t in trials if t.is_leak)
    told = [Leak(t.name, t.test, round(t.figure, 6), t.limit, t.words) for t in found]
    return sorted(told, key=lambda leak: (leak.name, leak.test))


def demand_none(model: str, table: pa.Table, features: Features) -> dict[str, Any]:
    """Return what the check of a model's features says, for its manifest and card.

    Returns:
        `checked` (number of columns), `flagged` (nothing) and `allowed` (each leak that the policy
        allows on the day of the newest label, with who allowed it, why and until when).

    Raises:
        LeakingFeatures: A column leaks and isn't allowed.
    """
    trials = tried_features(table, features)
    allowed, refused = [], []
    for leak in leaks_among(trials):
        grounds = _grounds(leak, _newest_day(table))
        if grounds is None:
            refused.append(leak)
        else:
            allowed.append(asdict(leak) | _told(grounds))
    if refused:
        raise LeakingFeatures(model, [asdict(leak) for leak in refused])
    return {"checked": len({t.name for t in trials}), "flagged": [], "allowed": allowed}


def tried_features(table: pa.Table, features: Features) -> list[Trial]:
    """Return every test of each feature that `table` has, or that follows from it.

    Rows whose outcome was only inferred are left out: the columns that it was inferred from would
    know it.
    """
    table = _that_happened(table)
    computed = {n: PAIR_FEATURES[n](table) for n in features.names if n in PAIR_FEATURES}
    there = {n: table[n].combine_chunks() for n in features.names if n in table.column_names}
    columns = {n: pa.array(values, from_pandas=True) for n, values in computed.items()}
    return tried(table, columns | there)


def tried(rows: pa.Table, columns: Mapping[str, pa.Array]) -> list[Trial]:
    """Return every test of each column.

    With fewer rows than the policy asks for, only dates are looked at.

    Args:
        rows: In a fixed order, with `label` (0.0, 1.0; null: not known) and, as far as it has them,
            `business_date`, `institution_id`, `product_id` and `channel_id`: a test that needs what
            isn't there is left out.
        columns: By name, as long as `rows`.
    """
    no_label = np.asarray(rows[LABEL].is_null().to_numpy(), dtype=np.bool_)
    every = [Column(name, values) for name, values in columns.items()]
    trials = [trial for column in every for trial in absent(column, no_label)]
    known = np.flatnonzero(~no_label)
    drawn = _drawn(known)
    sample = _sample(rows.take(drawn))
    views = {one.name: Views(one.take(drawn), sample.lead_days) for one in every}
    trials += [trial for one in views.values() for trial in late(one)]
    if not all(is_enough(sample.happened[part]) for part in sample.parts):
        return trials
    said = {name: most for name, one in views.items() if (most := alone(one, sample))}
    for name, most in said.items():
        trials += by_itself(views[name], sample, most)
    trials += ahead((one.take(known) for one in every), _ledgers(rows.take(known)))
    suspects = frozenset(trial.name for trial in trials if trial.is_leak)
    return trials + list(beyond_the_rest(views, sample, said, suspects))


def _that_happened(table: pa.Table) -> pa.Table:
    if INFERRED not in table.column_names:
        return table
    return table.filter(pc.invert(table[INFERRED]))


def _drawn(known: IntArray) -> IntArray:
    """Return at most `most_rows` of the rows, drawn by a fixed seed, in their order."""
    most = policy.leaks().most_rows
    return np.sort(np.random.default_rng(_seed()).permutation(known)[:most])


def _seed() -> int:
    seed: int = params().boosting["seed"]
    return seed


def _sample(drawn: pa.Table) -> Sample:
    happened = np.asarray(drawn[LABEL].to_numpy(), dtype=np.float64)
    place = np.random.default_rng(_seed()).permutation(drawn.num_rows) % sum(PARTS)
    first, second, _ = np.cumsum(PARTS)
    parts = (place < first, (place >= first) & (place < second), place >= second)
    return Sample(happened, _lead_days(drawn), *parts)


def _lead_days(table: pa.Table) -> FloatArray | None:
    if LEAD_DAY not in table.column_names:
        return None
    return Column(LEAD_DAY, table[LEAD_DAY].combine_chunks()).days


def _ledgers(known: pa.Table) -> list[Ledger]:
    days = _lead_days(known)
    if days is None:
        return []
    happened = np.asarray(known[LABEL].to_numpy(), dtype=np.float64)
    day = (days - days.min()).astype(np.int64)
    owners = [keys for keys in OWNERS if set(keys) <= set(known.column_names)]
    return [ledger(_codes(known, keys), day, happened) for keys in owners]


def _codes(table: pa.Table, keys: Iterable[str]) -> IntArray:
    joined = pc.binary_join_element_wise(
        *(pc.cast(table[key], pa.string()) for key in keys), "\x1f"
    )
    coded = joined.combine_chunks().dictionary_encode().indices.fill_null(0)
    return np.asarray(coded.to_numpy(), dtype=np.int64)


def _newest_day(table: pa.Table) -> date:
    named = LABEL_DAY if LABEL_DAY in table.column_names else LEAD_DAY
    newest: date = pc.max(table[named]).as_py()
    return newest


def _grounds(leak: Leak, day: date) -> AllowedLeak | None:
    entries = [entry for entry in policy.leaks().allowed if entry.holds(leak.name, leak.test, day)]
    return max(entries, key=lambda entry: entry.until, default=None)


def _told(grounds: AllowedLeak) -> dict[str, str]:
    return {"by": grounds.by, "why": grounds.why, "until": f"{grounds.until}"}
