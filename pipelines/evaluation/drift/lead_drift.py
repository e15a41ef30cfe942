"""Drift of the leads' features and volumes, and of the models' scores of them."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from expectations import policy
from models.params import params
from pipelines.core.database import read_query
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.core.statistics import round_significant
from pipelines.evaluation.drift.comparison import Figure, Grouping, Window, load_window
from pipelines.evaluation.drift.psi import Groups, Sample, design_effect, f_tail, psi_figures

SCORES = Path(__file__).parent / "sql" / "scores_by_lead.sql"
HISTORY = "channel_"
"""Prefix of features that are equal for all leads of a channel and day: no sample."""
EXCLUSION = "exclusion_detail"
"""Reason why a lead is not matched; missing for a lead that is."""
VALUES_AT_ONCE = 20_000_000
"""Approximate number of values of all columns that are held in memory at once."""
GROUPINGS: tuple[Grouping, ...] = ("all", "channel", "industry")
"""Groups within which leads are compared."""


def lead_figures(
    settings: Settings, window: Window, groupings: tuple[Grouping, ...] = GROUPINGS
) -> Iterator[Figure]:
    """Yield the PSI of each feature, and the leads a day of each channel."""
    paths = [settings.day_folder(settings.marts, day) / "leads.parquet" for day in window.days]
    leads = ds.dataset([str(path) for path in paths])
    rows = [pq.read_metadata(path).num_rows for path in paths]
    sample = _sample(leads.to_table(columns=["channel_id", "industry"]), rows, window, groupings)
    yield from _volume_figures(sample)
    features = [name for name in _features() if name in leads.schema.names]
    columns_at_once = max(1, VALUES_AT_ONCE // max(sum(rows), 1))
    for first in range(0, len(features), columns_at_once):
        table = leads.to_table(columns=features[first : first + columns_at_once])
        columns = zip(table.column_names, table.columns, strict=True)
        yield from psi_figures("leads", sample, columns)


def score_figures(
    settings: Settings,
    day: date,
    connection: duckdb.DuckDBPyConnection,
    groupings: tuple[Grouping, ...] = GROUPINGS,
) -> Iterator[Figure]:
    """Yield the PSI of the scores against the days that the same models scored.

    Other models give other scores to the same leads, so a new model set begins a new reference.
    """
    window = load_window(settings, settings.pairs, day)
    models = {
        date: read_manifest(settings.day_folder(settings.pairs, date))["models"]
        for date in window.days
    }
    same_models = [date for date in window.days if models[date] == models.get(day)]
    window = Window(reference=tuple(same_models[:-1]), current=tuple(same_models[-1:]))
    if not window.has_reference:
        return
    tables = [_load_scores(settings, date, connection) for date in window.days]
    table = pa.concat_tables(tables)
    sample = _sample(table, [each.num_rows for each in tables], window, groupings)
    names = ("pd", "p_approve", "p_fund")
    yield from psi_figures("scores", sample, ((name, table[name]) for name in names))


def _load_scores(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    paths = {
        "pairs": str(settings.day_folder(settings.pairs, day) / "pairs.parquet"),
        "leads": str(settings.day_folder(settings.marts, day) / "leads.parquet"),
    }
    return connection.sql(read_query(SCORES), params=paths).to_arrow_table()


def _features() -> list[str]:
    """Return the features of a lead without its channel's history, and the exclusion detail."""
    names = params().features["lead"].names
    return [EXCLUSION, *(name for name in names if not name.startswith(HISTORY))]


def _sample(
    table: pa.Table, rows: list[int], window: Window, groupings: tuple[Grouping, ...]
) -> Sample:
    return Sample(
        days=len(window.days),
        reference_days=len(window.reference),
        day=np.repeat(np.arange(len(rows)), rows),
        groupings={
            grouping: Groups(("",), np.zeros(table.num_rows, np.int64))
            if grouping == "all"
            else Groups.from_column(table[f"{grouping}_id" if grouping == "channel" else grouping])
            for grouping in groupings
        },
    )


def _volume_figures(sample: Sample) -> Iterator[Figure]:
    """Yield the leads a day of each channel, and of all together."""
    rules = policy.drift()
    for grouping in (name for name in sample.groupings if name != "industry"):
        groups = sample.groupings[grouping]
        for position, group in enumerate(groups.names):
            counts = sample.counts(groups)[:, position, 0].astype(np.float64)
            reference, now = counts[: sample.reference_days], counts[sample.reference_days :]
            if max(reference.sum(), now.sum()) < rules.min_rows or not reference.sum():
                continue
            ratio = max(now.mean(), 1 / now.size) / reference.mean()  # no lead counts as below one
            effect = design_effect((reference - reference.mean()) ** 2 / reference.mean())
            variance = effect * reference.mean() * (1 / now.size + 1 / reference.size)
            square = (now.mean() - reference.mean()) ** 2 / variance
            yield Figure(
                topic="volume",
                measure="leads a day",
                grouping=grouping,
                group=group,
                statistic="mean",
                value=round_significant(now.mean()),
                reference=round_significant(reference.mean()),
                distance=round_significant(max(ratio, 1 / ratio) - 1),
                watch_threshold=rules.lines.volume.watch,
                drift_threshold=rules.lines.volume.drift,
                p_value=round_significant(float(f_tail(square, reference.size - 1))),
                rows=int(now.sum()),
                reference_rows=int(reference.sum()),
                reference_days=reference.size,
            )
