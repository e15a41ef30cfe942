"""Driver's side of the Spark engine: sessions, jobs, and the results in order.

A job is one `mapInArrow` over as many partitions as there are portions. The task and the catalogue
are broadcast. Leads and results are files in a private folder below the home, because the home is
on a file system that all nodes share, and because neither then passes through the memory of the
driver's Java process (`pipelines.core.engine.spark_worker` has the files).
"""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from expectations.policy import POLICY_FOLDER
from pipelines.core.database import make_private_folder
from pipelines.core.engine.spark_worker import (
    Job,
    list_versions,
    read_table,
    run_portions,
    write_table,
)
from pipelines.core.engine.task import LEAD_ROW, Task
from pipelines.core.environment import FIXED, PROJECT
from pipelines.core.errors import EngineFailed, EngineUnavailable, IntegrityError
from pipelines.core.settings import Settings

UNCHANGED = "Nothing was published."
STANDALONE = "spark://"
DEFAULT_PORT = 7077
CONNECT_SECONDS = 5.0
WORKERS_SECONDS = 120.0
"""How long a job waits while the cluster gives it no worker."""
POLL_SECONDS = 1.0
ROWS_PER_GROUP = 8_192
"""Rows of a row group of a lead table: what a portion reads is rounded up to whole groups."""
FAILURE = re.compile(r"PortionFailed: (portion \d+ failed with [^\n]*)")


@contextmanager
def open_spark(settings: Settings) -> Iterator["SparkEngine"]:
    """Yield an engine on the master of `BANYAN_SPARK_MASTER`; end its session afterwards.

    Raises:
        EngineUnavailable: pyspark or Java is missing, or the master cannot be reached.
    """
    _require_master(settings.spark_master)
    session = _start_session(settings)
    try:
        yield SparkEngine(settings, session)
    finally:
        session.stop()


class SparkEngine:
    """Runs the portions on the workers of a Spark cluster."""

    def __init__(self, settings: Settings, session: Any) -> None:
        self._settings, self._session = settings, session

    def map(
        self, connection: duckdb.DuckDBPyConnection, task: Task, portions: Iterable[pa.Table]
    ) -> Iterator[pa.Table]:
        """Yield the result of each portion; see `pipelines.core.engine.engine.Engine`.

        Raises:
            EngineFailed: Spark could not compute a portion, also not on another worker.
            EngineUnavailable: The cluster has no worker for the job.
            IntegrityError: A portion has no result, or two.
        """
        with make_private_folder(self._settings) as folder:
            job = write_job(self._settings, connection, task, folder.resolve())
            count = 0
            for portion in portions:
                write_table(portion, job.input_file(count))
                count += 1
            rows = self._run(job, count) if count else {}
            for number in range(count):
                result = read_table(job.output_file(number))
                if result.num_rows != rows[number]:
                    raise IntegrityError(
                        f"Portion {number} has {result.num_rows} rows on the driver and "
                        f"{rows[number]} on its worker: they do not share {self._settings.home}. "
                        f"{UNCHANGED} Mount one file system at this path on every node."
                    )
                yield result
                job.output_file(number).unlink()

    def _run(self, job: Job, count: int) -> dict[int, int]:
        """Compute all portions; return the number of rows of each result."""
        context = self._session.sparkContext
        broadcast = context.broadcast(job)
        numbers = self._session.range(0, count, 1, numPartitions=count)
        schema = "portion long, rows long, refusal string"
        frame = numbers.mapInArrow(partial(run_portions, broadcast), schema)
        try:
            reports = self._collect(frame.collect)
        finally:
            broadcast.unpersist()
        refusals = sorted((row.portion, row.refusal) for row in reports if row.refusal)
        if refusals:
            raise IntegrityError(refusals[0][1])
        if sorted(row.portion for row in reports) != list(range(count)):
            raise IntegrityError(
                f"Spark reported {len(reports)} of {count} portions. {UNCHANGED} Run it again."
            )
        return {row.portion: row.rows for row in reports}

    def _collect(self, collect: Callable[[], list[Any]]) -> list[Any]:
        """Return the rows of a job; give up if no worker is there for `WORKERS_SECONDS`.

        Spark itself would wait for ever. The job runs in a thread, so that Ctrl-C ends the wait.
        """
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(collect)
            try:
                self._watch(running)
                return running.result()
            except Exception as error:
                if isinstance(error, EngineUnavailable):
                    raise
                raise EngineFailed(_describe_failure(error)) from None
            finally:
                if not running.done():
                    self._session.sparkContext.cancelAllJobs()

    def _watch(self, running: "Future[list[Any]]") -> None:
        """Return when the job has ended."""
        seen = time.monotonic()
        while not wait([running], POLL_SECONDS).done:
            if self._count_workers():
                seen = time.monotonic()
            elif time.monotonic() - seen > WORKERS_SECONDS:
                raise EngineUnavailable(
                    f"The Spark master {self._settings.spark_master} gave no worker for "
                    f"{WORKERS_SECONDS:.0f} s. {UNCHANGED} Start workers, or let them have the "
                    "memory and cores that spark-defaults.conf asks for, and run the step again."
                )

    def _count_workers(self) -> int:
        """Return the number of executors; in local mode the driver itself is the one."""
        if self._settings.spark_master.startswith("local"):
            return 1
        status = self._session.sparkContext._jsc.sc().getExecutorMemoryStatus()  # noqa: SLF001
        return int(status.size()) - 1  # the driver counts as one


def write_job(
    settings: Settings, connection: duckdb.DuckDBPyConnection, task: Task, folder: Path
) -> Job:
    """Return the job of a task, with its lead tables written to `folder`.

    Args:
        settings: The home that all workers share, and the limits of their connections.
        connection: With the tables that the task names.
        task: What is done with each portion.
        folder: The folder of the job, below the home.
    """
    for name in task.lead_tables:
        file = str(folder / f"{name}.parquet").replace("'", "''")
        connection.execute(
            f"copy (from {name} order by {LEAD_ROW}) to '{file}' "
            f"(format parquet, compression zstd, row_group_size {ROWS_PER_GROUP})"
        )
    return Job(
        task=task,
        catalogue={name: connection.table(name).to_arrow_table() for name in task.catalogue},
        folder=folder,
        home=settings.home.resolve(),
        memory_limit=settings.memory_limit,
        umask=settings.umask,
        versions=list_versions(),
    )


def _require_master(master: str) -> None:
    """Check that one of the masters of a standalone cluster accepts connections.

    Spark itself would try for a minute and end with a Java trace.
    """
    if not master.startswith(STANDALONE):
        return
    reasons = []
    for address in master.removeprefix(STANDALONE).split(","):
        host, _, port = address.partition(":")
        try:
            number = int(port or DEFAULT_PORT)
            socket.create_connection((host, number), CONNECT_SECONDS).close()
        except (OSError, ValueError, OverflowError) as error:
            reasons.append(f"{address}: {getattr(error, 'strerror', None) or error}")
        else:
            return
    raise EngineUnavailable(
        f"The Spark master cannot be reached ({'; '.join(reasons)}); BANYAN_SPARK_MASTER is "
        f"{master}. {UNCHANGED} Start the master, or correct the address; BANYAN_ENGINE=duckdb "
        "runs the step on this machine."
    )


def _start_session(settings: Settings) -> Any:
    """Return a Spark session with the surroundings of this process on every worker."""
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError:
        raise EngineUnavailable(
            f"BANYAN_ENGINE is spark, and pyspark is not installed. {UNCHANGED} Run `pip install "
            "-r requirements-spark.txt`, or unset BANYAN_ENGINE to run on this machine."
        ) from None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("banyan").master(settings.spark_master)
    for name, value in _list_options().items():
        builder = builder.config(name, value)
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        session = builder.getOrCreate()
    except PySparkRuntimeError:
        raise EngineUnavailable(
            f"Spark could not start Java. {UNCHANGED} Install Java 17 (Debian: "
            "openjdk-17-jre-headless) or set JAVA_HOME, and run the step again."
        ) from None
    except Exception as error:  # noqa: BLE001 - of Java, in many kinds
        raise EngineUnavailable(
            f"Spark could not start a session at {settings.spark_master} "
            f"({type(error).__name__}). {UNCHANGED} The messages of Spark above have the cause."
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)  # Spark sets a handler of its own
    session.sparkContext.setLogLevel("ERROR")
    return session


def _list_options() -> dict[str, str]:
    """Return the options of a session; all others come from Spark's own spark-defaults.conf."""
    variables = FIXED | {"PYTHONPATH": str(PROJECT)}
    if POLICY_FOLDER in os.environ:
        variables |= {POLICY_FOLDER: os.environ[POLICY_FOLDER]}
    options = {f"spark.executorEnv.{name}": value for name, value in variables.items()}
    return options | {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}


def _describe_failure(error: Exception) -> str:
    found = FAILURE.search(str(error))
    what = found[1].strip() if found else type(error).__name__
    return (
        f"Spark could not compute a portion of the leads, also not on another try: {what}. "
        f"{UNCHANGED} The log of the worker (work/ of its Spark folder) has the frames; "
        "BANYAN_ENGINE=duckdb runs the step on this machine."
    )
