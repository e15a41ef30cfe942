"""The failures of dbt as errors that say what to do, without a value of any row."""

import re
from datetime import date
from typing import Any

from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.settings import Settings

ERROR_KIND = re.compile(r"\b([A-Z][a-z]+(?: [A-Za-z]+)* Error)\b")
"""For example `Conversion Error`; the rest of DuckDB's message may hold a value of a row."""

RESOURCE_NAMES = {"model": "table", "unit_test": "unit test"}


def check_results(settings: Settings, day: date, layer: str, outcome: Any) -> list[Any]:
    """Return one result per table and test of a dbt invocation that succeeded.

    Args:
        settings: Settings of the home.
        day: The business date that was built.
        layer: The layer that was built.
        outcome: dbt's `dbtRunnerResult`.

    Raises:
        IntegrityError: Tables could not be built or tests failed.
        BanyanError: dbt did not start to build.
    """
    results = list(getattr(outcome.result, "results", ()))
    if outcome.success and results:
        return results
    if not results:
        raise BanyanError(_describe_start_failure(settings, day, layer, outcome.exception))
    failed = [result for result in results if result.status in {"error", "fail", "runtime error"}]
    skipped = sum(result.status == "skipped" for result in results)
    raise IntegrityError(
        f"The layer {layer} could not be built for {day}: "
        + "; ".join(_describe_failure(result) for result in failed)
        + f". {skipped} dependent tables and tests were skipped; the marts of {day} were not "
        "published, and earlier marts are unchanged. The queries are in "
        f"{settings.home / '.dbt' / 'target'}: run one on {settings.warehouse} to see the rows. "
        "Correct the input or the table, then run the day again."
    )


def _describe_failure(result: Any) -> str:
    """Return which table or test failed, and how."""
    kind = str(result.node.resource_type)
    name = f"{RESOURCE_NAMES.get(kind, kind)} {result.node.name}"
    message = result.message or ""
    if kind == "unit_test":  # its rows are part of the project
        return f"{name}: {message}"
    if result.status == "fail":
        return f"{name} failed (rows that break it: {result.failures:,})"
    if "Compilation Error" in message:  # raised before dbt reads any row
        return f"{name}: {' '.join(message.split())}"
    errors = ERROR_KIND.findall(message)
    return f"{name} failed ({errors[-1] if errors else result.status})"


def _describe_start_failure(settings: Settings, day: date, layer: str, exception: object) -> str:
    text = " ".join(str(exception).split())
    if "lock" in text.lower():
        return (
            f"{settings.warehouse} is held by another process, so the layer {layer} of {day} was "
            "not built. Only one process at a time can open it: wait for the other to end (in "
            "Airflow the pool `warehouse` does that), then run the step again."
        )
    return (
        f"dbt could not start on the layer {layer} of {day}; nothing was built. Its message: {text}"
    )
