"""Engine: applies one task to each portion of the day's leads and gives the results in order.

A step that works lead by lead divides its leads into portions. A task is a pure function of one
portion and of the tables that it names, so where and how often it runs changes no byte. The step
publishes the results, in the order of the portions, on every engine in the same way.

`LocalEngine` runs the portions one after the other in this process, `SparkEngine`
(`pipelines.core.engine.spark`) on the workers of a cluster.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import duckdb
import pyarrow as pa

from pipelines.core.engine.task import Task
from pipelines.core.settings import Settings


class Engine(Protocol):
    """Applies tasks to portions."""

    def map(
        self, connection: duckdb.DuckDBPyConnection, task: Task, portions: Iterable[pa.Table]
    ) -> Iterator[pa.Table]:
        """Yield the result of each portion, once and in the order of the portions.

        Args:
            connection: With the tables that the task names.
            task: What is done with a portion.
            portions: The portions; all of one schema.
        """


class LocalEngine:
    """Runs one portion after the other in this process; no portion is held longer than needed."""

    def map(
        self, connection: duckdb.DuckDBPyConnection, task: Task, portions: Iterable[pa.Table]
    ) -> Iterator[pa.Table]:
        """Yield the result of each portion; see `Engine`."""
        for portion in portions:
            yield task.run(connection, portion)


LOCAL = LocalEngine()


@contextmanager
def open_engine(settings: Settings) -> Iterator[Engine]:
    """Yield the engine that `BANYAN_ENGINE` names, and end its connection to a cluster.

    Raises:
        EngineUnavailable: The engine cannot be used: pyspark, Java, the master or its workers are
            missing.
    """
    if settings.engine == "duckdb":
        yield LOCAL
        return
    from pipelines.core.engine.spark import open_spark

    with open_spark(settings) as engine:
        yield engine
