"""Try the columns of a benchmark for leaks: those a model looks at, and those of the file itself.

A mapping leaves out what a lead could not know; here such columns are found without being told.
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
SAID = ("label", "label_known_on", "business_date", "institution_id", "product_id", "channel_id")
"""What the check wants to know of a row besides the column that it tries."""
MADE_OF = 0.999
"""Share of the rows in which each value goes with one outcome, if the outcome is made of it."""
FEW_VALUES = 20


@dataclass(frozen=True)
class Found:
    """What the leak check says of a labelled file."""

    leaks: list[Leak]
    label_columns: list[str]
    """Columns of the file that the label is made of: no leaks, and nothing to learn from."""
    checked: int
    margins: dict[str, dict[str, Any]]
    """For each test the column nearest to its limit, of those in which nothing was found."""

    def as_figures(self) -> dict[str, Any]:
        """Return `leaks` (names), why each is one, how many columns were tried, and the label's."""
        return {
            "leaks": sorted({leak.name for leak in self.leaks}),
            "leaks_why": [asdict(leak) for leak in self.leaks],
            "leaks_checked": self.checked,
            "leaks_margins": self.margins,
            "label_columns": self.label_columns,
        }


def look(settings: Settings, table: pa.Table, features: Features, name: str, file: Path) -> Found:
    """Return the leaks among `features` of the labelled pairs `table`, and of `file` itself.

    Args:
        settings: Says where the home is.
        table: As `models.training.dataset.examples` returns it.
        features: What the model looks at.
        name: The mapping by which the file became the table's leads.
        file: The foreign file.

    Raises:
        IntegrityError: No row of the file is among the pairs, so nothing could be tried.
    """
    raw = read_source_rows(settings, name, file)
    rows, columns = _beside(raw, table)
    if rows[LABEL].null_count == rows.num_rows:
        raise IntegrityError(
            f"None of the {raw.table.num_rows:,} leads in {file.name} is among the "
            f"{table.num_rows:,} labelled pairs, so its columns could not be tried for leaks. "
            f"Nothing was measured. Compare `lead_id` and `source` of the leads in mapping {name}."
        )
    of_label = {column for column in raw.outcome_columns if _is_label(columns[column], rows[LABEL])}
    others = {column: values for column, values in columns.items() if column not in of_label}
    trials = [*check_features(table, features), *check_columns(rows, others)]
    return Found(select_leaks(trials), sorted(of_label), _names(trials), margins(trials))


def _beside(raw: SourceRows, table: pa.Table) -> tuple[pa.Table, dict[str, pa.Array]]:
    """Return what is said of each row of the file (label null: no outcome), and its columns.

    A lead with several pairs stands once for each.
    """
    leads = raw.table.select(LEAD_KEY).append_column("row", pa.array(np.arange(raw.table.num_rows)))
    pairs = table.select(list(dict.fromkeys([*PAIR, *SAID])))
    pairs = pairs.append_column("pair", pa.array(np.arange(table.num_rows)))
    joined = leads.join(pairs, list(LEAD_KEY), list(PAIR), "left outer", coalesce_keys=True)
    joined = joined.rename_columns(dict(zip(LEAD_KEY, PAIR, strict=True)))
    joined = joined.sort_by([("row", "ascending"), ("pair", "ascending")])
    beside = raw.table.take(joined["row"])
    return joined.select(SAID), {name: beside[name].combine_chunks() for name in raw.columns}


def _names(trials: Sequence[LeakTestResult]) -> int:
    return len({trial.name for trial in trials})


def margins(trials: Sequence[LeakTestResult]) -> dict[str, dict[str, Any]]:
    """Return for each test the column nearest to its limit, of those in which nothing was found."""
    flagged = {trial.name for trial in trials if trial.is_leak}
    passed = [trial for trial in trials if trial.name not in flagged]
    return {
        trial.test: {"column": trial.name, "figure": round(trial.value, 6), "limit": trial.limit}
        for trial in sorted(passed, key=lambda t: (t.test, t.value, t.name))
    }


def _is_label(values: pa.Array, label: pa.ChunkedArray) -> bool:
    """Return whether each of a few values goes with one outcome alone."""
    known = pc.is_valid(label).combine_chunks()
    codes = values.filter(known).dictionary_encode().indices.fill_null(-1).to_numpy() + 1
    happened = label.filter(known).to_numpy()
    count, times = np.bincount(codes), np.bincount(codes, weights=happened)
    share = np.maximum(times, count - times).sum() / max(len(codes), 1)
    return int((count > 0).sum()) <= FEW_VALUES and bool(share >= MADE_OF)
