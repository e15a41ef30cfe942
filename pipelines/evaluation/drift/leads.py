"""Whether the leads, and what the models say of them, are like those of the days before."""

from collections.abc import Iterator
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from expectations import policy
from models.params import params
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.core.statistics import round_significant
from pipelines.evaluation.drift.figures import Figure, Grouping
from pipelines.evaluation.drift.histograms import Groups, Sample, stability_figures
from pipelines.evaluation.drift.psi_null import design_effect, tail
from pipelines.evaluation.drift.window import Window, window

HISTORY = "channel_"
"""How features begin that are the same for every lead of a channel and day: no sample."""
SET_ASIDE = "exclusion_detail"
"""Why a lead is not to be matched; missing where it is."""
VALUES_AT_ONCE = 20_000_000
"""About how many values of all columns together are held at once."""

# A lead's risk is the same at every product; of the other scores the lead's best counts.
SCORES = """
select
    leads.channel_id,
    leads.industry,
    max(pairs.pd) as pd,
    max(pairs.p_approve) as p_approve,
    max(pairs.p_fund) as p_fund
from read_parquet($pairs) as pairs
inner join read_parquet($leads) as leads using (channel_id, lead_id)
group by leads.channel_id, leads.lead_id, leads.industry
order by leads.channel_id, leads.lead_id
"""


EVERY: tuple[Grouping, ...] = ("all", "channel", "industry")
"""Groups within which leads are compared."""


def lead_figures(
    settings: Settings, within: Window, groupings: tuple[Grouping, ...] = EVERY
) -> Iterator[Figure]:
    """Yield the stability of each feature, and of how many leads each channel brings."""
    paths = [settings.day_folder(settings.marts, day) / "leads.parquet" for day in within.days]
    leads = ds.dataset([str(path) for path in paths])
    rows = [pq.read_metadata(path).num_rows for path in paths]
    names = leads.to_table(columns=["channel_id", "industry"])
    sample = _sample(names, rows, within, groupings)
    yield from _volumes(sample)
    features = [name for name in _features() if name in leads.schema.names]
    together = max(1, VALUES_AT_ONCE // max(sum(rows), 1))
    for first in range(0, len(features), together):
        table = leads.to_table(columns=features[first : first + together])
        columns = zip(table.column_names, table.columns, strict=True)
        yield from stability_figures("leads", sample, columns)


def score_figures(
    settings: Settings,
    day: date,
    connection: duckdb.DuckDBPyConnection,
    groupings: tuple[Grouping, ...] = EVERY,
) -> Iterator[Figure]:
    """Yield the stability of the scores against the days that the same models scored.

    Other models give other scores, whatever the leads: a new set begins a new reference.
    """
    within = window(settings, settings.pairs, day)
    models = {
        some_day: read_manifest(settings.day_folder(settings.pairs, some_day))["models"]
        for some_day in within.days
    }
    alike = [some_day for some_day in within.days if models[some_day] == models.get(day)]
    within = Window(reference=tuple(alike[:-1]), current=tuple(alike[-1:]))
    if not within.has_reference:
        return
    tables = [_scores(settings, some_day, connection) for some_day in within.days]
    table = pa.concat_tables(tables)
    sample = _sample(table, [each.num_rows for each in tables], within, groupings)
    names = ("pd", "p_approve", "p_fund")
    yield from stability_figures("scores", sample, ((name, table[name]) for name in names))


def _scores(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    paths = {
        "pairs": str(settings.day_folder(settings.pairs, day) / "pairs.parquet"),
        "leads": str(settings.day_folder(settings.marts, day) / "leads.parquet"),
    }
    return connection.sql(SCORES, params=paths).to_arrow_table()


def _features() -> list[str]:
    """Return what models read of a lead, but for history, and why leads were set aside."""
    names = params().features["lead"].names
    return [SET_ASIDE, *(name for name in names if not name.startswith(HISTORY))]


def _sample(
    table: pa.Table, rows: list[int], within: Window, groupings: tuple[Grouping, ...]
) -> Sample:
    return Sample(
        days=len(within.days),
        reference_days=len(within.reference),
        day=np.repeat(np.arange(len(rows)), rows),
        groupings={
            grouping: Groups(("",), np.zeros(table.num_rows, np.int64))
            if grouping == "all"
            else Groups.of(table[f"{grouping}_id" if grouping == "channel" else grouping])
            for grouping in groupings
        },
    )


def _volumes(sample: Sample) -> Iterator[Figure]:
    """Yield how many leads a day each channel brings, and all together."""
    rules = policy.drift()
    for grouping in (name for name in sample.groupings if name != "industry"):
        groups = sample.groupings[grouping]
        for place, group in enumerate(groups.names):
            counts = sample.counts(groups)[:, place, 0].astype(np.float64)
            then, now = counts[: sample.reference_days], counts[sample.reference_days :]
            if max(then.sum(), now.sum()) < rules.least_rows or not then.sum():
                continue
            ratio = max(now.mean(), 1 / now.size) / then.mean()  # none at all is less than one
            effect = design_effect((then - then.mean()) ** 2 / then.mean())
            variance = effect * then.mean() * (1 / now.size + 1 / then.size)
            square = (now.mean() - then.mean()) ** 2 / variance
            yield Figure(
                topic="volume",
                what="leads a day",
                grouping=grouping,
                group=group,
                statistic="mean",
                value=round_significant(now.mean()),
                reference=round_significant(then.mean()),
                distance=round_significant(max(ratio, 1 / ratio) - 1),
                watch_from=rules.lines.volume.watch,
                threshold=rules.lines.volume.drift,
                p_value=round_significant(float(tail(square, then.size - 1))),
                rows=int(now.sum()),
                reference_rows=int(then.sum()),
                reference_days=then.size,
            )
