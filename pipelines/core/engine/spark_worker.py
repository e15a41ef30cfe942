"""Worker's side of the Spark engine: compute one portion of a job and write its result.

A job lies in a folder below the home, which the driver and all workers share:

    in-00007.arrow    portion 7, written by the driver
    NAME.parquet      a lead table, by `lead_row`
    out-00007.arrow   its result: written beside, synced and renamed

A task that Spark runs again, or twice at a time, replaces a result by the same rows. So a killed
worker neither loses nor doubles a portion.
"""

import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from pipelines.core.database import connect
from pipelines.core.engine.task import LEAD_ROW, Task
from pipelines.core.environment import protect_new_files
from pipelines.core.errors import BanyanError
from pipelines.core.publishing import code_version, sync
from pipelines.core.settings import PROJECT, Settings

LIBRARIES = ("duckdb", "lightgbm", "numpy", "pyarrow", "scipy")
"""Libraries whose version the bytes of a result may depend on."""
REPORT = pa.schema([("portion", pa.int64()), ("rows", pa.int64()), ("refusal", pa.string())])
"""What a worker reports of a portion: its rows, or the words of an error that a retry repeats."""


class PortionFailed(Exception):
    """A portion could not be computed; the text quotes no row, since Spark writes it to logs."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs besides the files of its portion; it has no lead and no secret."""

    task: Task
    catalogue: dict[str, pa.Table]
    folder: Path
    """The folder of the job, on a file system that all workers share."""
    home: Path
    memory_limit: str
    umask: str
    versions: dict[str, str]
    """Of the driver."""

    @property
    def settings(self) -> Settings:
        """The settings of the worker; its other cores run other portions, so one thread."""
        return Settings(home=self.home, threads=1, memory_limit=self.memory_limit, umask=self.umask)

    def input_file(self, portion: int) -> Path:
        """Return the file of a portion."""
        return self.folder / f"in-{portion:05}.arrow"

    def output_file(self, portion: int) -> Path:
        """Return the file of the result of a portion."""
        return self.folder / f"out-{portion:05}.arrow"

    def lead_file(self, table: str) -> Path:
        """Return the file of a lead table."""
        return self.folder / f"{table}.parquet"


class BroadcastJob(Protocol):
    """The job as Spark sends it: once to each worker."""

    @property
    def value(self) -> Job:
        """The job."""


def run_portions(
    broadcast: BroadcastJob, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Compute the portions of one partition; yield `REPORT`. `mapInArrow` calls it.

    Args:
        broadcast: The job.
        batches: The numbers of the portions, as the first column.
    """
    for batch in batches:
        reports = [run_portion(broadcast.value, int(portion)) for portion in batch[0].to_pylist()]
        yield pa.RecordBatch.from_pylist(reports, REPORT)


def run_portion(job: Job, portion: int) -> dict[str, int | str | None]:
    """Compute and store one portion; return its row of `REPORT`.

    Raises:
        PortionFailed: An unforeseen error, which Spark may retry on another worker.
    """
    protect_new_files(job.umask)
    if words := _describe_other_versions(job.versions):
        return {"portion": portion, "rows": 0, "refusal": words}
    try:
        result = _compute(job, read_table(job.input_file(portion)))
        write_table(result, job.output_file(portion))
    except BanyanError as error:
        return {"portion": portion, "rows": 0, "refusal": str(error)}
    except Exception as error:  # noqa: BLE001 - its text may quote a row, which no log may have
        raise PortionFailed(_describe_failure(portion, error)) from None
    return {"portion": portion, "rows": result.num_rows, "refusal": None}


def _compute(job: Job, portion: pa.Table) -> pa.Table:
    with connect(job.settings) as connection:
        for name, table in job.catalogue.items():
            connection.register("sent", table)
            connection.execute(f"create table {name} as from sent")
            connection.unregister("sent")
        for name in job.task.lead_tables:
            _load_leads(connection, name, job.lead_file(name), portion)
        return job.task.run(connection, portion)


def _load_leads(
    connection: duckdb.DuckDBPyConnection, name: str, file: Path, portion: pa.Table
) -> None:
    """Create the lead table `name` with the leads of the portion; other row groups aren't read."""
    leads = portion[LEAD_ROW]
    bounds = (
        {"first": leads[0].as_py(), "last": leads[-1].as_py()}
        if len(leads)
        else {"first": 0, "last": -1}
    )
    connection.execute(
        f"""
        create table {name} as
        from read_parquet($file, hive_partitioning = false)
        where {LEAD_ROW} between $first and $last
        order by {LEAD_ROW}
        """,
        {"file": str(file)} | bounds,
    )


def read_table(file: Path) -> pa.Table:
    """Return the table that `write_table` wrote."""
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


def write_table(table: pa.Table, file: Path) -> None:
    """Write a table so that `file` is whole or absent, also if two workers write it at a time."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(descriptor)
    fresh = Path(name)
    try:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(name, table.schema, options=options) as writer:
            writer.write_table(table)
        sync(fresh)
        fresh.rename(file)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


@cache
def list_versions() -> dict[str, str]:
    """Return the versions that the bytes of a result may depend on: code, policies, libraries."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {"code and policies": code_version(), "Python": platform.python_version()} | libraries


def _describe_other_versions(expected: dict[str, str]) -> str:
    """Return how this worker's versions differ from the driver's; empty if they don't."""
    found = list_versions()
    differing = [
        f"{name} {found.get(name)} in place of {wanted}"
        for name, wanted in expected.items()
        if found.get(name) != wanted
    ]
    if not differing:
        return ""
    return (
        f"A Spark worker on {platform.node()} has {', '.join(differing)}, so its results could "
        f"differ. It runs {sys.executable} with the code of {PROJECT}. Nothing was published. "
        "Install the same release on every node, then run the step again."
    )


def _describe_failure(portion: int, error: BaseException) -> str:
    """Return kind and place of an error without its text."""
    number = f" {error.errno}" if isinstance(error, OSError) else ""
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames
    )
    return f"portion {portion} failed with {type(error).__name__}{number} at {places}"
