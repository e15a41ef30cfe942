"""Calibration ledger of a day: the probabilities of earlier matches, against their outcomes.

It is published with the day's pairs. `calibration_ledger.parquet` is the ledger for people;
`calibration_statistics.json` has what was estimated from it: interval widths, and the approval
odds that may be disclosed. Both depend only on what was known before the day.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.features.columns import to_floats
from models.model_set import OUTPUTS
from models.params import params
from models.scoring.uncertainty import EVIDENCE_STEPS, IntervalModel
from models.training.dataset import KEYS, load_examples
from models.validation.calibration_monitor import DisclosedOdds, name_bands, summarize_calibration
from models.validation.splits import row_weights
from pipelines.core.database import connect, run_query
from pipelines.core.publishing import MANIFEST, write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json

LEDGER_FILE, STATISTICS_FILE = "calibration_ledger.parquet", "calibration_statistics.json"
GROUP_COLUMNS = (
    "segment",
    "bureau_score",
    "amount_to_income",
    "amount_to_revenue",
    "product_decisions",
)
"""Columns of the examples that interval widths and disclosed odds depend on."""


@dataclass(frozen=True)
class CalibrationLedger:
    """The ledger, and what is estimated from it."""

    widths: dict[str, IntervalModel]
    """By model."""
    disclosed_odds: DisclosedOdds
    """Of approval."""
    table: pa.Table
    """The ledger of all models."""


def build_ledger(settings: Settings, day: date) -> CalibrationLedger:
    """Return the ledger of the days before `day`, as known before it.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    predictions = {model: _load_predictions(settings, day, model) for model in sorted(OUTPUTS)}
    widths = {
        model: IntervalModel.fit(table, to_floats(table, "predicted"))
        for model, table in predictions.items()
    }
    tables = [summarize_calibration(model, table) for model, table in predictions.items()]
    odds = DisclosedOdds.fit(predictions["approval"])
    return CalibrationLedger(widths, odds, pa.concat_tables(tables))


def write_ledger(folder: Path, built: CalibrationLedger) -> None:
    """Write the ledger and its statistics into `folder`."""
    write_parquet(built.table, folder / LEDGER_FILE)
    widths: dict[str, Any] = {name: widths.as_dict() for name, widths in built.widths.items()}
    statistics = {"widths": widths, "disclosed_odds": built.disclosed_odds.as_dict()}
    write_json(folder / STATISTICS_FILE, statistics)


def read_disclosed_odds(folder: Path) -> DisclosedOdds:
    """Return the odds that `write_ledger` stored in `folder`."""
    statistics = read_json(folder / STATISTICS_FILE)
    return DisclosedOdds.from_dict(statistics["disclosed_odds"])


def _load_predictions(settings: Settings, day: date, model: str) -> pa.Table:
    """Return the matches of the window with `label` known before `day` and `predicted`, by key.

    An approval counts only if its lead is old enough to be decided, in a young market too: quick
    decisions are more often approvals. A right-censored loan counts by the part that was observed,
    and one in arrears as a partial default.
    """
    known = load_examples(settings, day, params().models[model].label, as_of=day)
    weight = pa.array(row_weights(known))
    known = known.select([*KEYS, "business_date", *GROUP_COLUMNS, "label"])
    known = known.append_column("weight", weight)
    youngest, window = params().decision_maturity_days, params().calibration_monitor.window_days
    days = [day - timedelta(days=back) for back in range(youngest, youngest + window)]
    folders = [settings.day_folder(settings.matches, earlier) for earlier in sorted(days)]
    files = [str(path / "matches.parquet") for path in folders if (path / MANIFEST).is_file()]
    if not files or not known.num_rows:
        none = known.slice(0, 0).append_column("predicted", pa.array([], pa.float64()))
        return _add_groups(none)
    query = Path(__file__).parent / "sql" / "known_predictions.sql"
    with connect(settings) as connection:
        connection.register("known", known)
        predictions: pa.Table = run_query(connection, query, {"files": files}).to_arrow_table()
    predicted = predictions[OUTPUTS[model]]
    predictions = predictions.drop_columns(list(OUTPUTS.values()))
    return _add_groups(predictions.append_column("predicted", predicted))


def _add_groups(predictions: pa.Table) -> pa.Table:
    """Return `predictions` with the names of the groups that the ledger reports."""
    steps = ("none", *(f"{least} or more" for least in EVIDENCE_STEPS))
    decisions = np.nan_to_num(to_floats(predictions, "product_decisions"), nan=0.0)
    step = np.searchsorted(EVIDENCE_STEPS, decisions, side="right")
    days = predictions["business_date"].to_pylist()
    weeks = [f"{day.isocalendar().year}-W{day.isocalendar().week:02}" for day in days]
    return (
        predictions.append_column("band", name_bands(to_floats(predictions, "predicted")))
        .append_column("evidence", pa.array(steps).take(pa.array(step)))
        .append_column("week", pa.array(weeks, pa.string()))
    )
