"""Leak checks: of synthetic leaks in a simulated market, and of labelled foreign files.

`bench leaks` simulates a market with its broadcast, ingests it and makes training pairs as on any
day; the leak check has to find each synthetic leak and nothing else. `check_source` checks the
features of a foreign file's model and the file's own columns: it finds columns that are unknown at
application time without the help of the mapping, which leaves them out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.leakage.check import LABEL, Leak, check_columns, check_features, select_leaks
from models.leakage.synthetic_leaks import SYNTHETIC_LEAKS, add_synthetic_leaks
from models.leakage.univariate import LeakTestResult
from models.params import Features, Label, params
from models.training.dataset import load_examples
from pipelines.bench.shell import Figures, Stopwatch, count_option, temporary_home
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.importing.source_columns import LEAD_KEY, SourceRows, read_source_rows
from pipelines.ingest.ingest_day import ingest
from pipelines.simulate import SimulationPlan, simulate
from pipelines.transform.build import transform

LABELS: dict[str, Label] = {"approval": "approved", "take_up": "funded"}
"""Models with outcomes in a market of some weeks; defaults take a year."""

PAIR = ("channel_id", "lead_id")
PAIR_COLUMNS = (
    "label", "label_known_on", "business_date", "institution_id", "product_id", "channel_id"
)  # fmt: skip
"""Columns of a labelled pair that the check needs beside the column under test."""
LABEL_AGREEMENT = 0.999
"""Least share of rows whose value determines the outcome, where the outcome is derived from it."""
FEW_VALUES = 20


@click.command("leaks")
@click.option("--start", default="2026-01-05", show_default=True, help="First business date.")
@count_option("--days", 30, "Number of dates.")
@count_option("--leads-per-day", 1_500, "Leads of each date.")
@count_option("--institutions", 60, "Number of institutions.")
@count_option("--channels", 8, "Number of channels.")
@click.option("--seed", type=int, default=42, show_default=True, help="Seed of the market.")
@click.pass_obj
def command(
    settings: Settings,
    *,
    start: str,
    days: int,
    leads_per_day: int,
    institutions: int,
    channels: int,
    seed: int,
) -> Figures:
    """Check a simulated market for leaks, without and with synthetic ones.

    The figures have `rows` and `valid_flagged` (names) by model; `nearest`: for each test the valid
    column of the approval model nearest to its limit; `synthetic`: for each synthetic leak the
    tests that find it, with their figures; `missed`; `seconds_checking` (of the approval model's
    features, processor time) and `seconds`.
    """
    stopwatch = Stopwatch()
    with temporary_home(settings) as home:
        first = date.fromisoformat(start)
        plan = SimulationPlan(first, days, leads_per_day, institutions, channels, seed)
        tables = _training_tables(home, plan)
    checking = Stopwatch()
    valid = {
        model: check_features(table, params().model_features(model))
        for model, table in tables.items()
    }
    seconds_checking = checking.processor_seconds
    failed_tests = _find_synthetic_leaks(add_synthetic_leaks(tables["approval"]))
    return {
        "rows": {model: table.num_rows for model, table in tables.items()},
        "valid_flagged": {
            model: sorted({leak.name for leak in select_leaks(results)})
            for model, results in valid.items()
        },
        "nearest": nearest_limits(valid["approval"]),
        "synthetic": failed_tests,
        "missed": sorted(leak for leak, tests in failed_tests.items() if not tests),
        "seconds_checking": round(seconds_checking, 1),
        "seconds": round(stopwatch.seconds, 1),
    }


def _training_tables(home: Settings, plan: SimulationPlan) -> dict[str, pa.Table]:
    """Simulate the market and return the examples of each model as of its last day."""
    simulate(home, plan)
    day = plan.start + timedelta(days=plan.days - 1)
    ingest(home, day)
    transform(home, day)
    return {model: load_examples(home, day, label, as_of=day) for model, label in LABELS.items()}


def _find_synthetic_leaks(table: pa.Table) -> dict[str, dict[str, float]]:
    """Return for each synthetic leak, beside the valid features, the tests that find it."""
    features = params().model_features("approval")
    failed_tests = {}
    for name in SYNTHETIC_LEAKS:
        extended = Features(numbers=(*features.numbers, name), categories=features.categories)
        leaks = select_leaks(check_features(table, extended))
        failed_tests[name] = {leak.test: leak.value for leak in leaks if leak.name == name}
    return failed_tests


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
        table: Labelled pairs, as `models.training.dataset.load_examples` returns them.
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
