"""The ledger of a day: odds given with the matches before it, and what is known of them by then.

It is published with the day's pairs: `odds.parquet` is the ledger for people, `odds.json` what it
teaches, how wide intervals are and what may be told. Both depend on what was known before the day.
"""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.features.encoder import numbers
from models.model_set import OUTPUTS
from models.params import params
from models.scoring.uncertainty import EVIDENCE, Widths
from models.training.dataset import KEYS, examples
from models.validation.calibration_monitor import LEDGER, Told, band_names, ledger
from models.validation.splits import weights_of
from pipelines.core.database import connect
from pipelines.core.publishing import MANIFEST, write_json, write_parquet
from pipelines.core.settings import Settings

TABLE, LESSONS = "odds.parquet", "odds.json"
READ = ("segment", "bureau_score", "amount_to_income", "amount_to_revenue", "product_decisions")
"""Columns of the examples that uncertainty is learned by."""


@dataclass(frozen=True)
class Odds:
    """What the odds of the days before teach."""

    widths: dict[str, Widths]
    """By model."""
    told: Told
    """Of approval."""
    table: pa.Table
    """The ledger."""


def learn(settings: Settings, day: date) -> Odds:
    """Return what is known before `day` of the odds given in the days before it.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    given = {model: _given(settings, day, model) for model in sorted(OUTPUTS)}
    widths = {
        model: Widths.learned(table, numbers(table, "predicted")) for model, table in given.items()
    }
    tables = [ledger(model, table) for model, table in given.items()]
    return Odds(widths, Told.learned(given["approval"]), pa.concat_tables(tables))


def write(folder: Path, odds: Odds) -> None:
    """Write the ledger and its lessons into `folder`."""
    write_parquet(odds.table, folder / TABLE)
    lessons: dict[str, Any] = {name: widths.as_dict() for name, widths in odds.widths.items()}
    write_json(folder / LESSONS, {"widths": lessons, "told": odds.told.as_dict()})


def told(folder: Path) -> Told:
    """Return what may be told, as `write` left it in `folder`."""
    return Told.from_dict(json.loads((folder / LESSONS).read_text("utf-8"))["told"])


def _given(settings: Settings, day: date, model: str) -> pa.Table:
    """Return the matches of the window whose label is known before `day`, in order of keys.

    Of approvals only those count whose lead is old enough to be decided, in a young market too:
    what is decided at once is approved more often than what takes a week. A loan that still runs
    counts as far as it has been seen, and one that is behind in part as a default.
    """
    known = examples(settings, day, params().models[model].label, as_of=day)
    weight = pa.array(weights_of(known))
    known = known.select([*KEYS, "business_date", *READ, "label"]).append_column("weight", weight)
    youngest, window = params().decision_maturity_days, params().odds.window_days
    days = [day - timedelta(days=back) for back in range(youngest, youngest + window)]
    folders = [settings.day_folder(settings.matches, some_day) for some_day in sorted(days)]
    files = [str(path / "matches.parquet") for path in folders if (path / MANIFEST).is_file()]
    if not files or not known.num_rows:
        return _named(known.slice(0, 0).append_column("predicted", pa.array([], pa.float64())))
    keys = ", ".join(KEYS)
    others = ", ".join(f"known.{name}" for name in ("business_date", *READ))
    with connect(settings) as connection:
        connection.register("known", known)
        joined = connection.sql(
            f"""
            select
                {keys}, {others},
                sum(known.label * known.weight) / sum(known.weight) as label,
                sum(known.weight) as weight,
                matches.{OUTPUTS[model]} as predicted
            from known
            inner join read_parquet($files, hive_partitioning = true) as matches using ({keys})
            where matches."date" = known.business_date and known.weight > 0
            group by all
            order by {keys}
            """,
            params={"files": files},
        ).to_arrow_table()
    return _named(joined)


def _named(given: pa.Table) -> pa.Table:
    """Return `given` with the names of what the ledger groups by."""
    edges = ("none", *(f"{least} or more" for least in EVIDENCE))
    decisions = np.nan_to_num(numbers(given, "product_decisions"), nan=0.0)
    steps = np.searchsorted(EVIDENCE, decisions, side="right")
    days = given["business_date"].to_pylist()
    weeks = [f"{day.isocalendar().year}-W{day.isocalendar().week:02}" for day in days]
    return (
        given.append_column("band", band_names(numbers(given, "predicted")))
        .append_column("evidence", pa.array(edges).take(pa.array(steps)))
        .append_column("week", pa.array(weeks, pa.string()))
    )


__all__ = ["LEDGER", "Odds", "learn", "told", "write"]
