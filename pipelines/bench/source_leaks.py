"""Leak checks of a labelled foreign file: the features of its model, and the file's own columns.

A mapping leaves out columns that are unknown at application time. This check finds such columns
without the mapping's help.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.leakage.check import LABEL, Leak, check_columns, check_features, select_leaks
from models.leakage.univariate import LeakTestResult
from models.params import Features
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.importing.source_columns import LEAD_KEY, SourceRows, read_source_rows

PAIR = ("channel_id", "lead_id")
PAIR_COLUMNS = (
    "label", "label_known_on", "business_date", "institution_id", "product_id", "channel_id"
)  # fmt: skip
"""Columns of a labelled pair that the check needs beside the column under test."""
LABEL_AGREEMENT = 0.999
"""Least share of rows whose value determines the outcome, where the outcome is derived from it."""
FEW_VALUES = 20


@dataclass(frozen=True)
class SourceLeaks:
    """Result of the leak check of a labelled file."""

    leaks: list[Leak]
    label_columns: list[str]
    """Columns of the file from which the label is derived; they are no leaks."""
    checked: int
    nearest: dict[str, dict[str, Any]]
    """For each test the column nearest to its limit, among columns without a leak."""

    def as_figures(self) -> dict[str, Any]:
        """Return names and reasons of the leaks, number of columns, and the label's columns."""
        return {
            "leaks": sorted({leak.name for leak in self.leaks}),
            "leaks_explained": [asdict(leak) for leak in self.leaks],
            "leaks_checked": self.checked,
            "leaks_nearest": self.nearest,
            "label_columns": self.label_columns,
        }


def check_source(
    settings: Settings, table: pa.Table, features: Features, mapping: str, file: Path
) -> SourceLeaks:
    """Return the leaks among `features` of the labelled pairs `table`, and of `file` itself.

    Args:
        settings: Settings of the home.
        table: Labelled pairs, as `models.training.dataset.examples` returns them.
        features: The features of the model.
        mapping: The mapping by which the file was imported.
        file: The foreign file.

    Raises:
        IntegrityError: No row of the file is among the pairs, so nothing can be checked.
    """
    source = read_source_rows(settings, mapping, file)
    rows, columns = _join_pairs(source, table)
    if rows[LABEL].null_count == rows.num_rows:
        raise IntegrityError(
            f"None of the {source.table.num_rows:,} leads in {file.name} is among the "
            f"{table.num_rows:,} labelled pairs, so its columns cannot be checked for leaks. "
            f"Nothing was measured. Compare `lead_id` and `source` of the leads in mapping "
            f"{mapping}."
        )
    of_label = {
        column for column in source.outcome_columns if _determines(columns[column], rows[LABEL])
    }
    others = {column: values for column, values in columns.items() if column not in of_label}
    results = [*check_features(table, features), *check_columns(rows, others)]
    checked = len({result.name for result in results})
    return SourceLeaks(select_leaks(results), sorted(of_label), checked, nearest_limits(results))


def _join_pairs(source: SourceRows, table: pa.Table) -> tuple[pa.Table, dict[str, pa.Array]]:
    """Return pair columns of each row of the file (label null: no outcome), and its own columns.

    A lead with several pairs has a row for each.
    """
    leads = source.table.select(LEAD_KEY).append_column(
        "row", pa.array(np.arange(source.table.num_rows))
    )
    pairs = table.select(list(dict.fromkeys([*PAIR, *PAIR_COLUMNS])))
    pairs = pairs.append_column("pair", pa.array(np.arange(table.num_rows)))
    joined = leads.join(pairs, list(LEAD_KEY), list(PAIR), "left outer", coalesce_keys=True)
    joined = joined.rename_columns(dict(zip(LEAD_KEY, PAIR, strict=True)))
    joined = joined.sort_by([("row", "ascending"), ("pair", "ascending")])
    own = source.table.take(joined["row"])
    return joined.select(PAIR_COLUMNS), {
        name: own[name].combine_chunks() for name in source.columns
    }


def nearest_limits(results: Sequence[LeakTestResult]) -> dict[str, dict[str, Any]]:
    """Return for each test the column nearest to its limit, among columns without a leak."""
    flagged = {result.name for result in results if result.is_leak}
    passed = [result for result in results if result.name not in flagged]
    return {
        result.test: {
            "column": result.name,
            "figure": round(result.value, 6),
            "limit": result.limit,
        }
        for result in sorted(passed, key=lambda r: (r.test, r.value, r.name))
    }


def _determines(values: pa.Array, label: pa.ChunkedArray) -> bool:
    """Return whether the column has few values and each has one outcome only."""
    is_known = pc.is_valid(label).combine_chunks()
    codes = values.filter(is_known).dictionary_encode().indices.fill_null(-1).to_numpy() + 1
    outcomes = label.filter(is_known).to_numpy()
    count, positives = np.bincount(codes), np.bincount(codes, weights=outcomes)
    share = np.maximum(positives, count - positives).sum() / max(len(codes), 1)
    return int((count > 0).sum()) <= FEW_VALUES and bool(share >= LABEL_AGREEMENT)
