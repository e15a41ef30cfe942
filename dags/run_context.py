"""What a running task knows about its run: the business date, and its own name."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import Context, Param

BUSINESS_DATE = Param(
    None,
    type=["null", "string"],
    format="date",
    description="Run this business date (YYYY-MM-DD) instead of the run's own.",
)


def find_business_date(context: Context | Mapping[str, Any], zone: ZoneInfo) -> date:
    """Return the business date of a run, in the platform's time zone.

    The parameter `business_date` has precedence. Otherwise it is the date of the run's logical
    date: for a scheduled or backfilled run the start of its data interval, for a manual run the
    moment that was picked. For a manual run without a moment it is the last complete business
    date.
    """
    if requested := context["params"].get("business_date"):
        return date.fromisoformat(requested)
    moment: datetime | None = context.get("logical_date")
    if moment:
        return moment.astimezone(zone).date()
    moment = context["dag_run"].run_after
    return moment.astimezone(zone).date() - timedelta(days=1)


def task_name(task: Any) -> str:
    """Return the name of a task instance for the log; a mapped one has its index."""
    return task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
