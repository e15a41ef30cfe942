"""The real steps of a day in this process, without the fixed costs of Airflow, dbt and its tests.

dbt compiles each table once; afterwards the compiled queries are run as dbt runs them. A
test compares the published files with the ones of the commands.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb

from dags.steps import run_step, run_whole_step
from pipelines.core.settings import Settings
from pipelines.transform import build, warehouse

Queries = list[tuple[str, str]]
"""Name -> the statement that creates the table or view, in the order in which they are built."""


def compile_queries(settings: Settings, day: date) -> Queries:
    """Return the statement of every table as of a date, as dbt compiles it."""
    outcome = warehouse.run_dbt(settings, day, "compile", "--select=resource_type:model")
    assert outcome.success, outcome.exception
    nodes = (each.node.to_dict() for each in outcome.result.results)
    models = {node["unique_id"]: node for node in nodes if node["resource_type"] == "model"}
    return [(models[name]["name"], _statement(models[name])) for name in _sort(models)]


COMPILED: dict[date, tuple[str, Queries]] = {}


def compile_once(settings: Settings, day: date) -> Queries:
    """Return what `compile_queries` does; a process compiles the tables of a date once.

    In the statements of another home only the paths differ.
    """
    if day not in COMPILED:
        COMPILED[day] = f"{settings.home}", compile_queries(settings, day)
    home, queries = COMPILED[day]
    return [(name, query.replace(home, f"{settings.home}")) for name, query in queries]


def at_date(queries: Queries, compiled: date, day: date) -> Queries:
    """Return the statements as of another date than the one that they were compiled for."""
    return [(name, query.replace(f"{compiled}", f"{day}")) for name, query in queries]


def _statement(model: dict[str, Any]) -> str:
    kind = model["config"]["materialized"]
    assert kind in {"table", "view"}
    return f"create or replace {kind} {model['name']} as {model['compiled_code']}"


def _sort(models: dict[str, Any]) -> Iterator[str]:
    """Yield models so that each follows the ones that it reads."""
    done: set[str] = set()
    while len(done) < len(models):
        ready = [
            name
            for name in sorted(models.keys() - done)
            if not (models.keys() & set(models[name]["depends_on"]["nodes"])) - done
        ]
        assert ready
        done.update(ready)
        yield from ready


def transform(settings: Settings, day: date, queries: Queries) -> None:
    """Build every table and publish the marts."""
    warehouse._write_typed_files(settings, day)
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set threads = {settings.threads}")
        for _, query in queries:
            connection.execute(query)
    warehouse._record_built(settings, day, warehouse.LAYERS)
    build.publish_marts(settings, day)


def run_day(settings: Settings, day: date, queries: Queries) -> dict[str, Any]:
    """Run every step of a day; return what `report` returns."""
    run_whole_step("ingest", settings, day)
    transform(settings, day, queries)
    for name in ("train", "score", "match"):
        run_step(name, settings, day)
    run_whole_step("deliver", settings, day)
    return dict(run_step("report", settings, day))
