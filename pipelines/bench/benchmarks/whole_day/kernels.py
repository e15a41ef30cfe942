"""The bare kernels of a day that was run: the same work without contracts, checks and evidence.

| step | kernel |
| --- | --- |
| ingest | DuckDB reads the landed bytes as text and writes them as Parquet |
| collect | the published rows of the lake are sorted by key and written |
| intermediate, features, marts | the SQL of dbt alone, on a warehouse of its own |
| score | `Booster.predict` on finished matrices, and writing the pairs |
| match | the solver alone, on finished arrays, and writing the tables |
| deliver | writing the lead files |

A step that is not listed has no kernel: what it does is not needed for the matches. What a kernel
reads is loaded before its time begins.
"""

import gzip
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dbt.contracts.graph.nodes import ModelNode

from expectations import policy
from expectations.contracts import contracts, load
from models import model_set as models
from models.scoring.estimators import TrainedModel
from pipelines.allocation.allocate import allocate
from pipelines.bench.shell import Figures, Stopwatch
from pipelines.core.database import connect
from pipelines.core.publishing import MANIFEST, open_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.matches.build_problem import DayPlan, plan_day
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.scoring import PAIRS_PER_BATCH, load_pair_features, score_leads
from pipelines.pairs.valuation import load_pairs
from pipelines.transform.warehouse import parse_project, state_folder

PREDICTED_PAIRS = 2_000_000
"""Most pairs that `Booster.predict` is measured on; its time is linear in the rows, so the time of
more pairs is extrapolated."""
DBT_LAYERS = ("intermediate", "features", "marts")
"""The layers with tables; staging has views only."""


@dataclass
class KernelTimes:
    """Seconds by the clock and of the processor, by step."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def measure(self, step: str, times: float = 1.0) -> Iterator[None]:
        """Add the time of the block to `step`, `times` over."""
        stopwatch = Stopwatch()
        yield
        self.seconds[step] += times * stopwatch.seconds
        self.cpu_seconds[step] += times * stopwatch.processor_seconds

    def figures(self) -> Figures:
        """Return `seconds` and `cpu_seconds` by step, and `total`."""
        figures = {
            step: {"seconds": self.seconds[step], "cpu_seconds": self.cpu_seconds[step]}
            for step in self.seconds
        }
        total = {
            name: sum(figure[name] for figure in figures.values())
            for name in ("seconds", "cpu_seconds")
        }
        return {
            step: {name: round(value, 2) for name, value in figure.items()}
            for step, figure in (figures | {"total": total}).items()
        }


def measure_kernels(settings: Settings, day: date) -> Figures:
    """Return the time of each kernel of `day`, which was run in the home."""
    times = KernelTimes()
    scratch = settings.home / "kernels"
    scratch.mkdir()
    _read_landed(settings, day, times, scratch)
    _sort_lake(settings, day, times, scratch)
    _run_dbt_sql(settings, day, times, scratch)
    _score(settings, day, times, scratch)
    _match(settings, day, times, scratch)
    _write_lead_files(settings, day, times, scratch)
    return times.figures()


def _read_landed(settings: Settings, day: date, times: KernelTimes, scratch: Path) -> None:
    """Read the landed files of `day` as text and write them as Parquet, form by form.

    Files of one form have the same columns. Files and rows that DuckDB can't read are left out.
    """
    forms: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in sorted(settings.landing.glob(f"*/*/{day}/*")):
        feed, kind = path.parts[-4], path.name.partition(".")[2].removesuffix(".gz")
        forms[feed, kind, _read_header(path) if kind == "csv" else ""].append(f"{path}")
    with connect(settings) as connection:
        for number, (form, files) in enumerate(forms.items()):
            target = f"{scratch}/landed-{number}.parquet"
            try:
                with times.measure("ingest"):
                    _scan(connection, *form, files).write_parquet(target, compression="zstd")
            except duckdb.Error:  # a truncated file, which the day rejects
                for file in files:
                    with suppress(duckdb.Error), times.measure("ingest"):
                        _scan(connection, *form, [file]).write_parquet(target, compression="zstd")


def _read_header(path: Path) -> str:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        return file.readline().decode("utf-8", "replace").strip("\ufeff\r\n")


def _scan(
    connection: duckdb.DuckDBPyConnection, feed: str, kind: str, header: str, files: list[str]
) -> duckdb.DuckDBPyRelation:
    if kind == "parquet":
        return connection.read_parquet(files, union_by_name=True)
    if kind == "jsonl":
        columns = {column.name: "VARCHAR" for column in load(feed).columns}
        return connection.sql(
            "from read_json($files, format = 'newline_delimited', columns = $columns, "
            "ignore_errors = true)",
            params={"files": files, "columns": columns},
        )
    names = [name.strip('"') for name in header.split(",")]
    columns = {name or f"column{number}": "VARCHAR" for number, name in enumerate(names)}
    return connection.sql(
        "from read_csv($files, columns = $columns, header = true, auto_detect = false, "
        "delim = ',', quote = '\"', escape = '\"', ignore_errors = true, strict_mode = false)",
        params={"files": files, "columns": columns},
    )


def _sort_lake(settings: Settings, day: date, times: KernelTimes, scratch: Path) -> None:
    """Sort the published rows of each feed by their key and write them."""
    with connect(settings) as connection:
        for contract in contracts():
            folder = settings.day_folder(settings.lake / contract.feed, day)
            rows = connection.read_parquet(f"{folder}/{contract.feed}.parquet")
            with times.measure("collect"):
                ordered = rows.order(", ".join(f'"{name}"' for name in contract.key))
                ordered.write_parquet(f"{scratch}/{contract.feed}.parquet", compression="zstd")


def _run_dbt_sql(settings: Settings, day: date, times: KernelTimes, scratch: Path) -> None:
    """Run the SQL that dbt has compiled for `day`, tests included, in the order of its tables."""
    project = parse_project(settings, day)
    compiled = state_folder(settings) / "target" / "compiled" / "banyan"
    tables = {key: node for key, node in project.nodes.items() if isinstance(node, ModelNode)}
    with connect(settings) as connection:
        connection.execute(f"attach '{scratch / 'warehouse.duckdb'}' as warehouse")
        connection.execute("use warehouse")
        built: set[str] = set()
        for key in tables:
            _create_tables(connection, key, tables, compiled, built, times)
        for layer in DBT_LAYERS:
            for test in sorted((compiled / layer).glob("*.yml/*.sql")):
                with times.measure(layer):
                    connection.sql(test.read_text("utf-8")).fetchall()
        marts = settings.day_folder(settings.marts, day)
        for file in sorted(marts.glob("*.parquet")):
            with times.measure("marts"):
                connection.table(file.stem).write_parquet(
                    f"{scratch}/mart-{file.name}", compression="zstd"
                )


def _create_tables(
    connection: duckdb.DuckDBPyConnection,
    key: str,
    tables: dict[str, ModelNode],
    compiled: Path,
    built: set[str],
    times: KernelTimes,
) -> None:
    """Create the table `key`, and before it the ones that it reads."""
    if key in built or key not in tables:
        return
    built.add(key)
    node = tables[key]
    for needed in node.depends_on_nodes:
        _create_tables(connection, needed, tables, compiled, built, times)
    kind = "view" if node.config.materialized == "view" else "table"
    query = (compiled / node.original_file_path).read_text("utf-8")
    with times.measure(node.original_file_path.partition("/")[0]):
        connection.execute(f"create {kind} {node.name} as {query}")


def _score(settings: Settings, day: date, times: KernelTimes, scratch: Path) -> None:
    """Predict the leads and their pairs with LightGBM, and write the pairs."""
    model_set = models.load(settings, day)
    trained = {
        name: (model, lightgbm.Booster(model_str=model.trees))
        for name, model in model_set.estimators.items()
        if isinstance(model, TrainedModel)
    }
    published = open_parquet(settings.day_folder(settings.pairs, day) / "pairs.parquet")
    with connect(settings) as connection:
        marts = settings.day_folder(settings.marts, day)
        load_leads(connection, marts)
        leads = connection.table("leads").to_arrow_table()
        score_leads(connection, model_set)
        load_products(connection, marts, day)
        if "risk" in trained:
            _predict(*trained.pop("risk"), leads, settings.threads, times)
        rows = published.metadata.num_rows
        predicted = min(rows, PREDICTED_PAIRS)
        for first in range(0, predicted, PAIRS_PER_BATCH):
            features = load_pair_features(
                connection,
                _pairs_sql(settings, day, first, min(PAIRS_PER_BATCH, predicted - first)),
            )
            for model, booster in trained.values():
                _predict(model, booster, features, settings.threads, times, rows / predicted)
    with pq.ParquetWriter(
        scratch / "pairs.parquet", published.schema_arrow, compression="zstd"
    ) as writer:
        for batch in published.iter_batches(131_072):
            with times.measure("score"):
                writer.write_batch(batch)


def _pairs_sql(settings: Settings, day: date, first: int, rows: int) -> str:
    """Return a query of the rows of `rows` published pairs, from the `first` on."""
    path = settings.day_folder(settings.pairs, day) / "pairs.parquet"
    return f"""
        select lead_row, product_row
        from (
            select channel_id, lead_id, institution_id, product_id
            from read_parquet('{path}', hive_partitioning = false, file_row_number = true)
            where file_row_number >= {first} and file_row_number < {first + rows}
        )
        join leads using (channel_id, lead_id)
        join products using (institution_id, product_id)
    """


def _predict(
    model: TrainedModel,
    booster: lightgbm.Booster,
    table: pa.Table,
    threads: int,
    times: KernelTimes,
    repeats: float = 1.0,
) -> None:
    matrix = np.ascontiguousarray(model.encoder.encode(table))
    with times.measure("score", repeats):
        booster.predict(matrix, num_threads=threads)


def _match(settings: Settings, day: date, times: KernelTimes, scratch: Path) -> None:
    """Solve the allocation of the day, and write what the matching publishes."""
    plan = _load_problem(settings, day)
    offers = policy.value().max_offers_per_lead
    with times.measure("match"):
        within_quotas = allocate(plan.pairs, plan.quota, max_offers=offers)
        if not all(limit.is_satisfied(within_quotas.rows) for limit in plan.limits):
            allocate(
                plan.pairs,
                plan.quota,
                max_offers=offers,
                limits=plan.limits,
                start=within_quotas.prices,
            )
    for root in (settings.matches, settings.offers, settings.unmatched, settings.reasons):
        for file in sorted(settings.day_folder(root, day).glob("*.parquet")):
            table = pq.read_table(file, partitioning=None)
            with times.measure("match"):
                pq.write_table(table, scratch / f"{root.name}-{file.name}", compression="zstd")


def _load_problem(settings: Settings, day: date) -> DayPlan:
    """Return the plan of the day with the arrays and limits of its problem."""
    marts = settings.day_folder(settings.marts, day)
    with connect(settings) as connection:
        load_leads(connection, marts)
        load_products(connection, marts, day)
        load_pairs(connection, settings.day_folder(settings.pairs, day), day)
        connection.read_parquet(f"{marts}/leads.parquet").create_view("mart_leads")
        return plan_day(
            connection,
            day,
            max_offers=policy.value().max_offers_per_lead,
            limits=policy.limits().on(day),
            guarantees=policy.guarantees(),
        )


def _write_lead_files(settings: Settings, day: date, times: KernelTimes, scratch: Path) -> None:
    """Write the rows of every delivered file again."""
    outbox = settings.day_folder(settings.outbox, day)
    for manifest in sorted(outbox.glob(f"*/{MANIFEST}")):
        for file in sorted(manifest.parent.glob("leads.*")):
            table = lead_file.read(file)
            with times.measure("deliver"):
                lead_file.write(table, scratch / f"{manifest.parent.name}-{file.name}")
