"""Leaks of nine kinds, planted beside the honest columns of labelled pairs."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from models.features import Numbers

Plant = Callable[[pa.Table, np.random.Generator], pa.Array]
"""Makes a column that knows what it can't, of labelled pairs."""


WRONG = 0.1
"""Share of the labels with noise that are not the label."""
FLAGGED = 1 / 3
"""Share of the approved that a flag is set for."""


def _label(table: pa.Table) -> Numbers:
    return np.asarray(table["label"].to_numpy(), dtype=np.float64)


def the_label_with_noise(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """One in ten is wrong."""
    wrong = random.random(table.num_rows) < WRONG
    return pa.array(np.where(wrong, 1 - _label(table), _label(table)))


def an_amount_after_the_outcome(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """What was granted; nothing to those who were declined."""
    asked = table["amount"].to_numpy() * random.uniform(0.5, 1.0, table.num_rows)
    return pa.array(np.where(_label(table) == 1, asked, 0.0))


def a_time_after_the_decision(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """When the file was closed, whatever came of it."""
    days = table["business_date"].to_numpy().astype("datetime64[s]")
    waits = random.integers(2 * 86_400, 9 * 86_400, table.num_rows).astype("timedelta64[s]")
    return pa.array(days + waits)


def missing_iff_declined(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """A figure without meaning that only the approved have."""
    return pa.array(random.normal(size=table.num_rows), mask=_label(table) == 0)


def an_id_given_after_approval(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """Contracts are numbered first, then whoever got none; each day goes on from the one before."""
    last = random.random(table.num_rows) - _label(table)
    order = np.lexsort((last, table["business_date"].to_numpy()))
    numbers = np.empty(table.num_rows, dtype=np.int64)
    numbers[order] = np.arange(1, table.num_rows + 1)
    return pa.array([f"C-{number:08d}" for number in numbers])


def a_rate_of_the_days_to_come(table: pa.Table, _: np.random.Generator) -> pa.Array:
    """The institution's approvals in the week that begins on the lead's day."""
    owner = table["institution_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    day = table["business_date"].to_numpy().astype(np.int64)
    day -= day.min()
    shape = (owner.max() + 1, day.max() + 8)
    yes, rows = np.zeros(shape), np.zeros(shape)
    np.add.at(yes, (owner, day), _label(table))
    np.add.at(rows, (owner, day), 1)
    week = [part.cumsum(axis=1) for part in (yes, rows)]
    before = [np.where(day > 0, part[owner, np.maximum(day - 1, 0)], 0) for part in week]
    ends = [part[owner, day + 6] for part in week]
    return pa.array((ends[0] - before[0] + 1) / (ends[1] - before[1] + 3))


def whole_years_mean_yes(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """A term in months: whole years if approved, any other number if not."""
    years = random.integers(1, 10, table.num_rows)
    odd = random.integers(1, 12, table.num_rows)
    return pa.array(12 * years + np.where(_label(table) == 1, 0, odd))


def certain_of_a_few(table: pa.Table, random: np.random.Generator) -> pa.Array:
    """A flag that a third of the approved have, and nobody else."""
    return pa.array((_label(table) == 1) & (random.random(table.num_rows) < FLAGGED))


def filled_in_later(table: pa.Table, _: np.random.Generator) -> pa.Array:
    """The label, put in when the books were closed: the latest leads have nothing yet."""
    days = table["business_date"].to_numpy()
    is_old = days < np.quantile(days.astype(np.int64), 0.6).astype("datetime64[D]")
    return pa.array(np.where(is_old, _label(table), 0.0))


PLANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        the_label_with_noise,
        an_amount_after_the_outcome,
        a_time_after_the_decision,
        missing_iff_declined,
        an_id_given_after_approval,
        a_rate_of_the_days_to_come,
        whole_years_mean_yes,
        certain_of_a_few,
        filled_in_later,
    )
}


def planted(table: pa.Table, seed: int = 1) -> pa.Table:
    """Return `table` with a column for each plant."""
    for name, plant in PLANTS.items():
        column = plant(table, np.random.default_rng(seed))
        table = table.append_column(name, column)
    return table
