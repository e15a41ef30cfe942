"""The failures of dbt as errors that say what to do, without a value of any row."""

import re
from datetime import date
from typing import Any

from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.library_errors import (
    NO_MEMORY_TEXT,
    NO_SPACE_TEXT,
    describe_damaged_files,
    describe_no_memory,
    describe_no_space,
    describe_warehouse,
)
from pipelines.core.settings import Settings

ERROR_KIND = re.compile(r"\b([A-Z][a-z]+(?: [A-Za-z]+)* Error)\b")
"""For example `Conversion Error`; the rest of DuckDB's message may hold a value of a row."""

UNREADABLE_TEXT = re.compile(r"IO Error|Invalid Input Error|parquet|Thrift|ZSTD", re.IGNORECASE)
"""Errors of DuckDB on a file that it cannot read."""

RESOURCE_NAMES = {"model": "table", "unit_test": "unit test"}


def check_results(settings: Settings, day: date, layer: str, outcome: Any) -> list[Any]:
    """Return one result per table and test of a dbt invocation that succeeded.

    Args:
        settings: Where the warehouse is.
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
    _raise_library_error(settings, outcome)
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


def _raise_library_error(settings: Settings, outcome: Any) -> None:
    """Raise an `IntegrityError` with words if a resource did not suffice or a file is damaged."""
    messages = [result.message or "" for result in getattr(outcome.result, "results", ())]
    texts = [*messages, str(outcome.exception or "")]
    words = ""
    if any(map(NO_SPACE_TEXT.search, texts)):
        words = describe_no_space(settings)
    elif any(map(NO_MEMORY_TEXT.search, texts)):
        words = describe_no_memory(settings)
    elif any("not a valid DuckDB database" in text for text in texts):
        words = describe_warehouse(settings)
    elif any(map(UNREADABLE_TEXT.search, texts)):
        words = describe_damaged_files(settings, "by dbt")
    if words:
        raise IntegrityError(words)


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
