"""Synthetic leaks of nine kinds, added to labelled pairs to test the leak check."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from pipelines.core.arrays import FloatArray

LeakGenerator = Callable[[pa.Table, np.random.Generator], pa.Array]
"""Generates a column of labelled pairs that depends on the label."""

LABEL_NOISE = 0.1
"""Share of wrong values in the noisy label."""
FLAGGED = 1 / 3
"""Share of the approved pairs that a flag is set for."""


def _label(table: pa.Table) -> FloatArray:
    return np.asarray(table["label"].to_numpy(), dtype=np.float64)


def noisy_label(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Return the label, wrong in one row of ten."""
    is_wrong = random.random(table.num_rows) < LABEL_NOISE
    return pa.array(np.where(is_wrong, 1 - _label(table), _label(table)))


def amount_granted(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Return the amount granted; 0 where the lead was declined."""
    granted = table["amount"].to_numpy() * random.uniform(0.5, 1.0, table.num_rows)
    return pa.array(np.where(_label(table) == 1, granted, 0.0))


def time_after_decision(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Return when the case was closed, for every outcome."""
    days = table["business_date"].to_numpy().astype("datetime64[s]")
    waits = random.integers(2 * 86_400, 9 * 86_400, table.num_rows).astype("timedelta64[s]")
    return pa.array(days + waits)


def missing_if_declined(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Return a random number that only approved pairs have."""
    return pa.array(random.normal(size=table.num_rows), mask=_label(table) == 0)


def id_given_after_approval(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Return contract numbers: each day's approved pairs first, then the others."""
    last = random.random(table.num_rows) - _label(table)
    order = np.lexsort((last, table["business_date"].to_numpy()))
    numbers = np.empty(table.num_rows, dtype=np.int64)
    numbers[order] = np.arange(1, table.num_rows + 1)
    return pa.array([f"C-{number:08d}" for number in numbers])


def approval_rate_of_next_week(table: pa.Table, _: np.random.Generator) -> pa.Array:
    """Return the institution's approval rate in the week that begins on the lead's day."""
    owner = table["institution_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    day = table["business_date"].to_numpy().astype(np.int64)
    day -= day.min()
    shape = (owner.max() + 1, day.max() + 8)
    approved, rows = np.zeros(shape), np.zeros(shape)
    np.add.at(approved, (owner, day), _label(table))
    np.add.at(rows, (owner, day), 1)
    totals = [part.cumsum(axis=1) for part in (approved, rows)]
    before = [np.where(day > 0, part[owner, np.maximum(day - 1, 0)], 0) for part in totals]
    ends = [part[owner, day + 6] for part in totals]
    return pa.array((ends[0] - before[0] + 1) / (ends[1] - before[1] + 3))


def whole_years_if_approved(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Return a term in months: whole years if approved, any other number if not."""
    years = random.integers(1, 10, table.num_rows)
    odd = random.integers(1, 12, table.num_rows)
    return pa.array(12 * years + np.where(_label(table) == 1, 0, odd))


def flag_of_some_approved(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Return a flag that a third of the approved pairs have, and no other pair."""
    return pa.array((_label(table) == 1) & (random.random(table.num_rows) < FLAGGED))


def label_filled_in_later(table: pa.Table, _: np.random.Generator) -> pa.Array:
    """Return the label, filled in at the end of a period: 0 for the latest leads."""
    days = table["business_date"].to_numpy()
    is_old = days < np.quantile(days.astype(np.int64), 0.6).astype("datetime64[D]")
    return pa.array(np.where(is_old, _label(table), 0.0))


SYNTHETIC_LEAKS: dict[str, LeakGenerator] = {
    generate.__name__: generate
    for generate in (
        noisy_label,
        amount_granted,
        time_after_decision,
        missing_if_declined,
        id_given_after_approval,
        approval_rate_of_next_week,
        whole_years_if_approved,
        flag_of_some_approved,
        label_filled_in_later,
    )
}


def add_synthetic_leaks(table: pa.Table, seed: int = 1) -> pa.Table:
    """Return `table` with one column for each synthetic leak."""
    for name, generate in SYNTHETIC_LEAKS.items():
        table = table.append_column(name, generate(table, np.random.default_rng(seed)))
    return table
