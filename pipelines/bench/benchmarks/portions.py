"""Costs of the portions of a published day, as the workers and the driver of a Spark cluster pay.

The score step's tasks run over the portions of a day as on a cluster, with the same files and the
same functions, one portion after the other in this process. So the figures are of one core, without
Spark's own cost of a job.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from models import model_set as models
from pipelines.bench.shell import Figures, Stopwatch, show_progress
from pipelines.core.database import connect, make_private_folder
from pipelines.core.engine.spark import write_job
from pipelines.core.engine.spark_worker import read_table, run_portion, write_table
from pipelines.core.engine.task import Task
from pipelines.core.errors import UsageError
from pipelines.core.publishing import write_batches
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.prefilter import select_promising_pairs
from pipelines.pairs.scoring import (
    ASSUMED_WIDTHS,
    ScorePairs,
    score_eligible_pairs,
    score_leads,
)
from pipelines.pairs.valuation import PAIR_SCHEMA


class MeasuredEngine:
    """Runs each portion as a worker does, and adds up what it costs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.figures: dict[str, Figures] = {}
        """By task."""

    def map(
        self, connection: duckdb.DuckDBPyConnection, task: Task, portions: Iterable[pa.Table]
    ) -> Iterator[pa.Table]:
        """Yield the result of each portion; see `pipelines.core.engine.engine.Engine`."""
        name = type(task).__name__
        with make_private_folder(self._settings) as folder:
            writing = Stopwatch()
            job = write_job(self._settings, connection, task, folder.resolve())
            count = 0
            for portion in portions:
                write_table(portion, job.input_file(count))
                count += 1
            written, sent = writing.processor_seconds, _count_bytes(folder)
            show_progress("portions", f"{name}: {count} portions")
            computing = Stopwatch()
            rows = [run_portion(job, number)["rows"] for number in range(count)]
            computed, every = computing.processor_seconds, _count_bytes(folder)
            self.figures[name] = {
                "portions": count,
                "rows": sum(int(each or 0) for each in rows),
                "driver_seconds": round(written, 2),
                "worker_seconds": round(computed, 2),
                "seconds_a_portion": round(computed / max(1, count), 3),
                "mb_sent": round(sent / 1e6, 2),
                "mb_returned": round((every - sent) / 1e6, 2),
            }
            for number in range(count):
                yield read_table(job.output_file(number))


def _count_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@click.command("portions")
@click.option("--date", "day", required=True, help="A business date with published marts.")
@click.pass_obj
def command(settings: Settings, /, day: str) -> Figures:
    """Measure what each portion of a day's score step costs the driver and the workers of Spark.

    The home needs the marts and the models of the date. By task: `portions`, `rows` of the results,
    processor seconds of the driver (writing portions and tables) and of the workers, and megabytes
    that pass through the shared home each way. `publish_seconds` is what the driver needs to read
    the pairs and write them to one file of `published_mb`.
    """
    try:
        business_date = date.fromisoformat(day)
    except ValueError:
        raise UsageError("--date is a date, such as 2026-03-02.") from None
    return measure_portions(settings, business_date)


def measure_portions(settings: Settings, day: date) -> Figures:
    """Return the figures of the benchmark."""
    engine, marts = MeasuredEngine(settings), settings.day_folder(settings.marts, day)
    model_set = models.load(settings, day)
    with connect(settings) as connection:
        load_leads(connection, marts)
        score_leads(connection, model_set, engine)
        rules = load_products(connection, marts, day)
        eligible = find_eligible_pairs(connection, rules, day, engine=engine)
        kept = select_promising_pairs(
            connection, model_set, eligible, policy.pairs().candidates, day, engine
        ).eligibility
        batches = score_eligible_pairs(connection, model_set, kept, ASSUMED_WIDTHS, engine)
        published = _publish(settings, batches, engine.figures)
        return {
            "leads": len(eligible.bitsets),
            "products": eligible.products,
            "eligible_pairs": int(eligible.pairs_per_lead.sum()),
            "tasks": engine.figures,
            **published,
        }


def _publish(
    settings: Settings, batches: Iterator[pa.RecordBatch], tasks: dict[str, Figures]
) -> Figures:
    """Write the pairs as the driver does; return their number and what that costs the driver."""
    with make_private_folder(settings) as folder:
        file, stopwatch = folder / "pairs.parquet", Stopwatch()
        write_batches(batches, PAIR_SCHEMA, file)
        seconds = stopwatch.processor_seconds
        scoring = tasks[ScorePairs.__name__]
        return {
            "scored_pairs": pq.read_metadata(file).num_rows,
            "publish_seconds": round(
                seconds - scoring["driver_seconds"] - scoring["worker_seconds"], 2
            ),
            "published_mb": round(file.stat().st_size / 1e6, 2),
        }
