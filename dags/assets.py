"""The results of the daily job, as Airflow assets.

They are outlets only. Another DAG may be scheduled on them; the DAGs of this project are not,
because a run that an asset starts has no logical date and cannot be backfilled by date. Each event
says which business date was published, where, and with which counts.
"""

from datetime import date
from typing import Any

from airflow.sdk import Asset

lake = Asset("banyan-lake")
models = Asset("banyan-models")
matches = Asset("banyan-matches")
outbox = Asset("banyan-outbox")
reports = Asset("banyan-reports")

PATHS = {
    lake.name: "lake/*/date={day}",
    models.name: "registry",
    matches.name: "matches/date={day}",
    outbox.name: "outbox/date={day}",
    reports.name: "reports/date={day}",
}
"""Name of an asset -> where the home has what an event announces."""


def describe_event(name: str, day: date, counts: object) -> dict[str, Any]:
    """Return what an event of the asset `name` says: `date`, `path` below the home, and counts."""
    single = counts.items() if isinstance(counts, dict) else ()
    figures = {key: value for key, value in single if isinstance(value, int | float | str)}
    return {"date": f"{day}", "path": PATHS[name].format(day=day), "counts": figures}
