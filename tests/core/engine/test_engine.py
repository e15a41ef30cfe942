"""Portions give the same rows on any engine; a worker that is repeated or fails harms nothing."""

import errno
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import duckdb
import pyarrow as pa
import pytest

from expectations import policy
from models import model_set as models
from pipelines.core.database import connect
from pipelines.core.engine import spark, spark_worker
from pipelines.core.engine.engine import LOCAL, open_engine
from pipelines.core.engine.spark import SparkEngine
from pipelines.core.engine.spark_worker import Job, PortionFailed, run_portions
from pipelines.core.engine.task import Task
from pipelines.core.errors import EngineUnavailable, InputMissing, IntegrityError
from pipelines.core.settings import Settings
from pipelines.pairs import prefilter, scoring
from pipelines.pairs.eligibility import engine as rules
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.score_day import score
from tests.helpers import trained_market
from tests.helpers.matched_day import DAY

PERSON = "Ann Example"


@dataclass(frozen=True)
class Price(Task):
    """Joins the leads of a portion with a factor."""

    catalogue: ClassVar[tuple[str, ...]] = ("factors",)
    lead_tables: ClassVar[tuple[str, ...]] = ("leads",)
    share: float

    def run(self, connection: duckdb.DuckDBPyConnection, portion: pa.Table) -> pa.Table:
        connection.register("portion", portion)
        return connection.sql(
            f"select lead_row, amount * factor * {self.share} as price from portion "
            "join leads using (lead_row) cross join factors order by lead_row"
        ).to_arrow_table()


@dataclass(frozen=True)
class CountLeads(Task):
    """Counts the leads that a portion can see."""

    lead_tables: ClassVar[tuple[str, ...]] = ("leads",)

    def run(self, connection: duckdb.DuckDBPyConnection, portion: pa.Table) -> pa.Table:
        return connection.sql("select count(*) as leads from leads").to_arrow_table()


@dataclass(frozen=True)
class Fail(Task):
    error: Exception

    def run(self, connection: duckdb.DuckDBPyConnection, portion: pa.Table) -> pa.Table:
        raise self.error


class Workers:
    """In the place of Spark: pickles the job and runs each portion in this process, the last first.

    What a cluster adds (sessions, lost workers) is proven in `tests/e2e/test_spark.py`.
    """

    def __init__(self, repeat: int = 1) -> None:
        self.sparkContext = SimpleNamespace(broadcast=self.broadcast, cancelAllJobs=lambda: None)
        self.repeat = repeat

    def broadcast(self, job: Job) -> SimpleNamespace:
        return SimpleNamespace(value=pickle.loads(pickle.dumps(job)), unpersist=lambda: None)

    def range(self, first: int, last: int, step: int, numPartitions: int) -> "Workers":  # noqa: N803
        self.portions = range(first, last, step)
        return self

    def mapInArrow(self, function: Callable, _: str) -> "Workers":  # noqa: N802
        self.function = function
        return self

    def collect(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(**row)
            for portion in reversed(self.portions)
            for row in [list(self.run(portion)) for _ in range(self.repeat)][-1]
        ]

    def run(self, portion: int) -> Iterator[dict]:
        batch = pa.RecordBatch.from_pydict({"id": [portion]})
        for result in self.function(iter([batch])):
            yield from result.to_pylist()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, spark_master="local[2]")


@pytest.fixture
def day(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """100 leads and a catalogue of two factors."""
    with connect(settings) as connection:
        connection.execute(
            "create table leads as select range::integer as lead_row, range * 1.1 as amount, "
            "[range::varchar] as names from range(100)"
        )
        connection.execute("create table factors as from (values (2.0), (3.0)) as rows (factor)")
        yield connection


def portions(*sizes: int) -> Iterator[pa.Table]:
    first = 0
    for size in sizes:
        yield pa.table({"lead_row": pa.array(range(first, first + size), pa.int32())})
        first += size


def test_workers_give_the_rows_of_this_process_in_the_order_of_portions(settings, day):
    local = list(LOCAL.map(day, Price(0.1), portions(7, 1, 0, 92)))
    remote = list(SparkEngine(settings, Workers()).map(day, Price(0.1), portions(7, 1, 0, 92)))
    assert [part.num_rows for part in local] == [14, 2, 0, 184]
    assert remote == local


def test_a_worker_sees_the_leads_of_its_portion_alone(settings, day):
    engine = SparkEngine(settings, Workers())
    seen = [part["leads"][0].as_py() for part in engine.map(day, CountLeads(), portions(10, 0, 90))]
    assert seen == [10, 0, 90]


def test_without_portions_nothing_is_started(settings, day):
    assert list(SparkEngine(settings, None).map(day, CountLeads(), portions())) == []


def test_a_portion_that_runs_again_is_neither_lost_nor_doubled(settings, day):
    once = list(SparkEngine(settings, Workers()).map(day, Price(0.1), portions(60, 40)))
    again = list(SparkEngine(settings, Workers(repeat=3)).map(day, Price(0.1), portions(60, 40)))
    assert again == once


def test_nothing_of_a_job_remains_below_the_home(settings, day):
    before = set(settings.home.rglob("*"))
    list(SparkEngine(settings, Workers()).map(day, Price(0.1), portions(60, 40)))
    with pytest.raises(IntegrityError):
        list(SparkEngine(settings, Workers()).map(day, Fail(InputMissing("x")), portions(60, 40)))
    assert set(settings.home.rglob("*")) == before


def test_a_portion_that_is_reported_twice_or_not_at_all_is_refused(settings, day, monkeypatch):
    collect = Workers.collect
    for wrong in (lambda rows: rows[1:], lambda rows: [*rows, rows[0]]):
        monkeypatch.setattr(Workers, "collect", lambda self, wrong=wrong: wrong(collect(self)))
        with pytest.raises(IntegrityError, match=r"of 2 portions. Nothing was published"):
            list(SparkEngine(settings, Workers()).map(day, Price(1), portions(60, 40)))


def test_a_result_that_the_driver_cannot_see_is_refused(settings, day, monkeypatch):
    monkeypatch.setattr(spark, "read_table", lambda _: pa.table({"price": [1.0]}))
    with pytest.raises(IntegrityError, match="Mount one file system"):
        list(SparkEngine(settings, Workers()).map(day, Price(1), portions(60, 40)))


def test_a_refusal_keeps_its_words(settings, day):
    task = Fail(InputMissing("marts are not published"))
    with pytest.raises(IntegrityError, match="marts are not published"):
        list(SparkEngine(settings, Workers()).map(day, task, portions(100)))


def make_job(folder: Path, task: Task) -> Job:
    return Job(task, {}, folder, folder, "1GB", "077", spark_worker.list_versions())


def run_one(job: Job) -> list[dict]:
    spark_worker.write_table(pa.table({"lead_row": pa.array([0], pa.int32())}), job.input_file(0))
    batch = pa.RecordBatch.from_pydict({"id": [0]})
    broadcast = SimpleNamespace(value=job)
    return [row for part in run_portions(broadcast, iter([batch])) for row in part.to_pylist()]


@pytest.mark.parametrize("error", [ValueError(PERSON), OSError(errno.EIO, PERSON)], ids=repr)
def test_an_unforeseen_error_of_a_worker_quotes_no_row(tmp_path, error):
    with pytest.raises(
        PortionFailed, match=f"portion 0 failed with {type(error).__name__}"
    ) as seen:
        run_one(make_job(tmp_path, Fail(error)))
    assert PERSON not in str(seen.value)
    assert seen.value.__suppress_context__


def test_a_worker_with_another_code_computes_nothing(tmp_path):
    job = make_job(tmp_path, Fail(ValueError()))
    other = replace(job, versions=job.versions | {"duckdb": "0.1"})
    (report,) = run_one(other)
    assert "in place of 0.1, so its results could differ" in report["refusal"]
    assert not other.output_file(0).exists()


def test_a_result_that_was_cut_off_has_no_name(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "disk")

    monkeypatch.setattr(spark_worker, "sync", fail)
    with pytest.raises(OSError, match="disk"):
        spark_worker.write_table(pa.table({"price": [1.0]}), tmp_path / "out-00000.arrow")
    assert list(tmp_path.iterdir()) == []


def test_the_pairs_of_a_day_are_the_same_by_workers(matched_copy, monkeypatch):
    folder = matched_copy.day_folder(matched_copy.pairs, DAY)
    before = (folder / "manifest.json").read_bytes()
    monkeypatch.setattr("pipelines.pairs.scoring.PAIRS_PER_BATCH", 50)
    monkeypatch.setattr("pipelines.pairs.scoring.LEADS_PER_BATCH", 17)
    monkeypatch.setattr(rules, "LEADS_PER_BATCH", 13)
    used = []

    class Recorded(Workers):
        def collect(self):
            used.append(len(self.portions))
            return super().collect()

    monkeypatch.setattr(spark, "_start_session", lambda _: Recorded())
    monkeypatch.setattr(Recorded, "stop", lambda _: None, raising=False)
    score(Settings(home=matched_copy.home, engine="spark"), DAY)
    assert len(used) == 3
    assert min(used) > 1
    assert (folder / "manifest.json").read_bytes() == before


@pytest.mark.prove  # the tests above have priors in the place of models
def test_trained_models_and_the_prefilter_give_the_same_pairs_by_workers(market, monkeypatch):
    monkeypatch.setattr(scoring, "PAIRS_PER_BATCH", 40)
    monkeypatch.setattr(prefilter, "ESTIMATED_PER_BATCH", 90)
    limits = policy.pairs().candidates.model_copy(update={"max_pairs": 0, "per_lead": 2})
    model_set = models.load(market, trained_market.DAY)
    marts = market.day_folder(market.marts, trained_market.DAY)
    found = []
    for engine in (LOCAL, SparkEngine(market, Workers())):
        with connect(market) as connection:
            load_leads(connection, marts)
            scoring.score_leads(connection, model_set, engine)
            products = load_products(connection, marts, trained_market.DAY)
            every = rules.find_eligible_pairs(
                connection, products, trained_market.DAY, engine=engine
            )
            kept = prefilter.select_promising_pairs(
                connection, model_set, every, limits, trained_market.DAY, engine
            )
            scored = scoring.score_eligible_pairs(
                connection, model_set, kept.eligibility, scoring.ASSUMED_WIDTHS, engine
            )
            found.append((pa.Table.from_batches(scored), kept))
    (local, local_kept), (remote, remote_kept) = found
    assert 0 < local.num_rows < int(every.pairs_per_lead.sum())
    assert remote.equals(local)
    assert remote_kept.facts == local_kept.facts
    assert remote_kept.sample.equals(local_kept.sample)


@pytest.mark.parametrize(
    ("master", "reason"),
    [("spark://127.0.0.1:1", "refused"), ("spark://127.0.0.1:x", "invalid literal")],
)
def test_a_master_that_cannot_be_reached_is_named(tmp_path, master, reason):
    settings = Settings(home=tmp_path, engine="spark", spark_master=master)
    words = rf"127.0.0.1.*{reason}.*BANYAN_SPARK_MASTER"
    with pytest.raises(EngineUnavailable, match=words), open_engine(settings):
        pass


def test_pyspark_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    settings = Settings(home=tmp_path, engine="spark")
    words = r"pip install -r requirements-spark.txt"
    with pytest.raises(EngineUnavailable, match=words), open_engine(settings):
        pass


def test_the_default_engine_imports_no_spark(tmp_path):
    with open_engine(Settings(home=tmp_path)) as engine:
        assert engine is LOCAL


def test_a_cluster_without_workers_is_given_up(settings, day, monkeypatch):
    class Waiting(Workers):
        def collect(self):
            time.sleep(0.2)
            raise ValueError("cancelled")

    monkeypatch.setattr(spark, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(spark, "WORKERS_SECONDS", 0.05)
    monkeypatch.setattr(SparkEngine, "_count_workers", lambda _: 0)
    with pytest.raises(EngineUnavailable, match="gave no worker"):
        list(SparkEngine(settings, Waiting()).map(day, CountLeads(), portions(100)))


@pytest.mark.parametrize("master", ["", "mesos://a:1", "localhost:7077"])
def test_an_impossible_master_is_refused(tmp_path, master):
    with pytest.raises(ValueError, match="spark_master"):
        Settings(home=tmp_path, spark_master=master)


def test_an_unknown_engine_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'duckdb' or 'spark'"):
        Settings(home=tmp_path, engine="flink")
