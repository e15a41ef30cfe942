"""Backtest: predicted against observed rates on later leads, by score, time, group and lender.

Each part has its mean prediction and its observed rate with a 95% interval. No protected attribute
is among the groups: they are kept apart from everything that models read.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.validation.metrics import estimate_intervals
from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import auc_with_interval, equal_count_bins, wilson_interval

CALIBRATION_PLOT_BINS = 10
MIN_PART_ROWS = 50
"""Rows from which on a part is shown."""

MIN_CLASS_ROWS = 10
"""Rows of each class from which on a part has an AUC."""

MAX_GROUPS = 12
"""Groups of an attribute that are shown: the largest ones."""

GROUPED_BY = ("segment", "channel_id", "region", "institution_kind", "employment", "housing")
AGES = (25, 35, 45, 55, 65)
"""Lower ends of the age bands but the first."""

MONTHLY_FROM_DAYS = 70
"""Days from which on periods are months, not weeks."""

MIN_LENDER_ROWS = 100


def run_backtest(table: pa.Table, predicted: FloatArray) -> dict[str, Any]:
    """Return predicted and observed rates of the rows of `table` by part.

    Args:
        table: Out-of-time examples with `label`, `business_date` and the columns of leads and
            products; an attribute whose column is absent is left out.
        predicted: The calibrated probability of each row.

    Returns:
        `figures` (Brier score, ECE and base rate with `low` and `high`), `bins` (ten of equal
        count), `time` (months, or weeks), `groups` (by attribute) and `lenders` (how many of the
        lenders with enough rows have their prediction within the interval of the observed rate).
    """
    outcomes = np.asarray(table["label"].to_numpy(), dtype=np.float64)
    return {
        "figures": _summarize(predicted, outcomes),
        "bins": _list_bins(predicted, outcomes),
        "time": _list_parts(_periods(table), predicted, outcomes),
        "groups": {
            name: parts
            for name, labels in _groupings(table)
            if (parts := _select_largest(_list_parts(labels, predicted, outcomes)))
        },
        "lenders": _count_lenders(table, predicted, outcomes),
    }


def _rates(name: str, predicted: FloatArray, outcomes: FloatArray) -> dict[str, Any]:
    """Return the mean prediction of some rows, and the observed rate with its interval."""
    rows, positives = len(outcomes), float(outcomes.sum())
    low, high = wilson_interval(positives, rows)
    return {
        "name": name,
        "rows": rows,
        "predicted": _round(predicted.mean()),
        "observed": _round(positives / rows),
        "low": _round(float(low)),
        "high": _round(float(high)),
    }


def _part(name: str, predicted: FloatArray, outcomes: FloatArray) -> dict[str, Any]:
    """Return the rates of a part, and its AUC if both classes have enough rows."""
    part = _rates(name, predicted, outcomes)
    rows, positives = len(outcomes), float(outcomes.sum())
    if min(positives, rows - positives) < MIN_CLASS_ROWS:
        return part
    area, low, high = auc_with_interval(predicted, outcomes)
    return part | {"auc": _round(area), "auc_low": _round(low), "auc_high": _round(high)}


def _list_parts(labels: Any, predicted: FloatArray, outcomes: FloatArray) -> list[dict[str, Any]]:
    """Return the parts that have enough rows, in the order of their labels."""
    names, part, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return [
        _part(str(name), predicted[part == number], outcomes[part == number])
        for number, name in enumerate(names)
        if name and counts[number] >= MIN_PART_ROWS
    ]


def _select_largest(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    largest = sorted(parts, key=lambda part: (-part["rows"], part["name"]))[:MAX_GROUPS]
    return sorted(largest, key=lambda part: part["name"])


def _list_bins(predicted: FloatArray, outcomes: FloatArray) -> list[dict[str, Any]]:
    bins = equal_count_bins(predicted, CALIBRATION_PLOT_BINS)
    return [
        _rates(f"{number}", predicted[rows], outcomes[rows])
        for number, rows in enumerate(bins, start=1)
        if len(rows)
    ]


def _periods(table: pa.Table) -> Any:
    """Return the month of each lead, or the Monday of its week if the leads span few days."""
    days = table["business_date"].to_numpy().astype("datetime64[D]")
    if (days.max() - days.min()).astype(int) >= MONTHLY_FROM_DAYS:
        return days.astype("datetime64[M]").astype(str)
    since_monday = (days.astype(int) + 3) % 7  # 1970-01-01 was a Thursday
    return (days - since_monday).astype(str)


def _groupings(table: pa.Table) -> Iterator[tuple[str, Any]]:
    """Yield each attribute of the table with the group of each row; empty if it is unknown."""
    for name in GROUPED_BY:
        if name in table.column_names:
            yield name, _to_texts(table[name])
    if "age_years" in table.column_names:
        ages = pc.cast(table["age_years"], pa.float64()).to_numpy()
        names = np.array([f"{AGES[0] - 1} and below", *(f"{age} and above" for age in AGES)])
        names[1:-1] = [f"{a} to {b - 1}" for a, b in pairwise(AGES)]
        band = names[np.searchsorted(AGES, np.nan_to_num(ages), side="right")]
        yield "age", np.where(np.isnan(ages), "", band)


def _to_texts(column: pa.ChunkedArray) -> Any:
    texts = pc.fill_null(pc.cast(column, pa.string()), "")
    return np.array(texts.to_pylist(), dtype=np.str_)


def _count_lenders(table: pa.Table, predicted: FloatArray, outcomes: FloatArray) -> dict[str, Any]:
    """Return how many lenders approved as many as predicted, up to chance."""
    lenders = table["institution_id"] if "institution_id" in table.column_names else None
    names = np.repeat("", table.num_rows) if lenders is None else _to_texts(lenders)
    _, lender, rows = np.unique(names, return_inverse=True, return_counts=True)
    expected = np.bincount(lender, weights=predicted) / rows
    positives = np.bincount(lender, weights=outcomes)
    enough = rows >= MIN_LENDER_ROWS
    low, high = wilson_interval(positives[enough], rows[enough])
    is_within = (low <= expected[enough]) & (expected[enough] <= high)
    return {
        "rows_at_least": MIN_LENDER_ROWS,
        "lenders": int(enough.sum()),
        "within": int(is_within.sum()),
    }


def _summarize(predicted: FloatArray, outcomes: FloatArray) -> dict[str, dict[str, float]]:
    """Return the 95% intervals of Brier score, ECE and base rate."""
    ends = estimate_intervals(predicted, outcomes)
    return {
        name: {"low": ends[f"{name}_low"], "high": ends[f"{name}_high"]}
        for name in ("brier", "ece", "base_rate")
    }


def _round(value: float) -> float:
    return round(float(value), 6)
