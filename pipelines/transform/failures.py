"""dbt's failures in the words of whoever must act on them, without a value of any row."""

import re
from datetime import date
from typing import Any

from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.settings import Settings

KIND_OF_ERROR = re.compile(r"\b([A-Z][a-z]+(?: [A-Za-z]+)* Error)\b")
"""Such as `Conversion Error`. What follows in DuckDB's own message may hold a value of a row."""

KINDS = {"model": "table", "unit_test": "unit test"}


def results_of(settings: Settings, day: date, layer: str, outcome: Any) -> list[Any]:
    """Return one result per table and test of a dbt invocation in which all went well.

    Args:
        settings: Where the warehouse is.
        day: The business date that was built.
        layer: The layer that was built.
        outcome: dbt's `dbtRunnerResult`.

    Raises:
        IntegrityError: Tables could not be built or tests failed.
        BanyanError: dbt did not come to building anything.
    """
    results = list(getattr(outcome.result, "results", ()))
    if outcome.success and results:
        return results
    if not results:
        raise BanyanError(_not_started(settings, day, layer, outcome.exception))
    failed = [result for result in results if result.status in {"error", "fail", "runtime error"}]
    skipped = sum(result.status == "skipped" for result in results)
    raise IntegrityError(
        f"The layer {layer} could not be built for {day}: "
        + "; ".join(_one(result) for result in failed)
        + f". {skipped} tables and tests that need them were skipped; the marts of {day} were not "
        "published, and what was published before stands. The queries lie in "
        f"{settings.home / '.dbt' / 'target'}: run one on {settings.warehouse} to see the rows. "
        "Mend the input or the table, then run the day again."
    )


def _one(result: Any) -> str:
    """Say which table or test failed, and how."""
    kind = str(result.node.resource_type)
    name = f"{KINDS.get(kind, kind)} {result.node.name}"
    message = result.message or ""
    if kind == "unit_test":  # its rows are written in the project
        return f"{name}: {message}"
    if result.status == "fail":
        return f"{name} failed (rows that break it: {result.failures:,})"
    if "Compilation Error" in message:  # of the SQL alone: dbt hadn't seen a row yet
        return f"{name}: {' '.join(message.split())}"
    errors = KIND_OF_ERROR.findall(message)
    return f"{name} failed ({errors[-1] if errors else result.status})"


def _not_started(settings: Settings, day: date, layer: str, exception: object) -> str:
    text = " ".join(str(exception).split())
    if "lock" in text.lower():
        return (
            f"{settings.warehouse} is held by another process, so the layer {layer} of {day} was "
            "not built. Only one process at a time can open it: wait for the other to end (in "
            "Airflow the pool `warehouse` sees to that), then run the step again."
        )
    return f"dbt could not start on the layer {layer} of {day}; nothing was built. It says: {text}"
