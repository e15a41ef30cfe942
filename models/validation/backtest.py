"""How a model did on the later leads that it was checked on: by what it said, by time and by group.

Each part has what was said on average, what happened, and the 95% interval of what happened. No
protected attribute is among the groups: those are kept apart from everything that models read.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.validation.metrics import spread
from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import auc_with_interval, equal_count_bins, wilson_interval

CALIBRATION_BINS = 10
FEWEST_ROWS = 50
"""Rows below which a part says too little to be shown."""

FEWEST_OF_A_CLASS = 10
"""Rows of either class from which on a part has an AUC."""

MOST_GROUPS = 12
"""Groups of an attribute that are shown: those with most rows."""

GROUPED_BY = ("segment", "channel_id", "region", "institution_kind", "employment", "housing")
AGES = (25, 35, 45, 55, 65)
"""Where bands of age begin."""

MANY_DAYS = 70
"""Days from which on time is told by month, not by week."""

LEAST_ROWS_OF_A_LENDER = 100


def checked(table: pa.Table, predicted: FloatArray) -> dict[str, Any]:
    """Return how calibrated probabilities `predicted` of the rows of `table` held.

    Args:
        table: Examples out of time, with `label`, `business_date` and the columns of leads and
            products; an attribute whose column is absent is left out.
        predicted: What was said of each row.

    Returns:
        `figures` (Brier score, ECE and base rate with `low` and `high`), `bins` (ten of equal
        count), `time` (months, or weeks), `groups` (by attribute) and `lenders` (how many of
        those with enough rows have what was said within the interval of what happened).
    """
    happened = np.asarray(table["label"].to_numpy(), dtype=np.float64)
    return {
        "figures": _intervals(predicted, happened),
        "bins": _bins(predicted, happened),
        "time": _parts(_periods(table), predicted, happened),
        "groups": {
            name: parts
            for name, labels in _groups(table)
            if (parts := _most(_parts(labels, predicted, happened)))
        },
        "lenders": _lenders(table, predicted, happened),
    }


def _rate(name: str, predicted: FloatArray, happened: FloatArray) -> dict[str, Any]:
    """Return what was said of some rows, and what happened with its interval."""
    rows, positive = len(happened), float(happened.sum())
    low, high = wilson_interval(positive, rows)
    return {
        "name": name,
        "rows": rows,
        "predicted": _rounded(predicted.mean()),
        "observed": _rounded(positive / rows),
        "low": _rounded(float(low)),
        "high": _rounded(float(high)),
    }


def _part(name: str, predicted: FloatArray, happened: FloatArray) -> dict[str, Any]:
    """Return the rate of a part, and how well it was ordered where both classes are there."""
    part = _rate(name, predicted, happened)
    rows, positive = len(happened), float(happened.sum())
    if min(positive, rows - positive) < FEWEST_OF_A_CLASS:
        return part
    area, low, high = auc_with_interval(predicted, happened)
    return part | {"auc": _rounded(area), "auc_low": _rounded(low), "auc_high": _rounded(high)}


def _parts(labels: Any, predicted: FloatArray, happened: FloatArray) -> list[dict[str, Any]]:
    """Return the parts that have enough rows, in the order of their labels."""
    names, position, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return [
        _part(str(name), predicted[position == at], happened[position == at])
        for at, name in enumerate(names)
        if name and counts[at] >= FEWEST_ROWS
    ]


def _most(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = sorted(parts, key=lambda part: (-part["rows"], part["name"]))[:MOST_GROUPS]
    return sorted(kept, key=lambda part: part["name"])


def _bins(predicted: FloatArray, happened: FloatArray) -> list[dict[str, Any]]:
    parts = equal_count_bins(predicted, CALIBRATION_BINS)
    return [_rate(f"{n + 1}", predicted[p], happened[p]) for n, p in enumerate(parts) if len(p)]


def _periods(table: pa.Table) -> Any:
    """Return the month of each lead, or in a short stretch the Monday of its week."""
    days = table["business_date"].to_numpy().astype("datetime64[D]")
    if (days.max() - days.min()).astype(int) >= MANY_DAYS:
        return days.astype("datetime64[M]").astype(str)
    since_monday = (days.astype(int) + 3) % 7  # 1970-01-01 was a Thursday
    return (days - since_monday).astype(str)


def _groups(table: pa.Table) -> Iterator[tuple[str, Any]]:
    there = set(table.column_names)
    for name in GROUPED_BY:
        if name in there:
            yield name, _texts(table[name])
    if "age_years" in there:
        ages = pc.cast(table["age_years"], pa.float64()).to_numpy()
        names = np.array([f"{AGES[0] - 1} and below", *(f"{age} and above" for age in AGES)])
        names[1:-1] = [f"{a} to {b - 1}" for a, b in pairwise(AGES)]
        band = names[np.searchsorted(AGES, np.nan_to_num(ages), side="right")]
        yield "age", np.where(np.isnan(ages), "", band)


def _texts(column: pa.ChunkedArray) -> Any:
    told = pc.fill_null(pc.cast(column, pa.string()), "")
    return np.array(told.to_pylist(), dtype=np.str_)


def _lenders(table: pa.Table, predicted: FloatArray, happened: FloatArray) -> dict[str, Any]:
    """Return how many lenders were as generous as was said, up to chance."""
    lenders = table["institution_id"] if "institution_id" in table.column_names else None
    named = np.repeat("", table.num_rows) if lenders is None else _texts(lenders)
    _, position, counts = np.unique(named, return_inverse=True, return_counts=True)
    said = np.bincount(position, weights=predicted) / counts
    came = np.bincount(position, weights=happened)
    enough = counts >= LEAST_ROWS_OF_A_LENDER
    low, high = wilson_interval(came[enough], counts[enough])
    within = (low <= said[enough]) & (said[enough] <= high)
    return {
        "rows_at_least": LEAST_ROWS_OF_A_LENDER,
        "lenders": int(enough.sum()),
        "within": int(within.sum()),
    }


def _intervals(predicted: FloatArray, happened: FloatArray) -> dict[str, dict[str, float]]:
    """Return the 95% intervals of Brier score, ECE and base rate."""
    told = spread(predicted, happened)
    return {
        name: {"low": told[f"{name}_low"], "high": told[f"{name}_high"]}
        for name in ("brier", "ece", "base_rate")
    }


def _rounded(value: float) -> float:
    return round(float(value), 6)
