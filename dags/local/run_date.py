"""Refuse a run date that is far from today and from every landed file: mostly it is mistyped.

A run closes every date up to its own, so a year typed wrong would close all days before it.
"""

from datetime import date, datetime

from expectations import policy
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.ingest.landing import list_paths


def check_run_date(settings: Settings, day: date, today: date | None = None) -> None:
    """Refuse `day` if it is far from today and from the nearest date of a landed file.

    Raises:
        IntegrityError: It is. Nothing was run or closed.
    """
    limits = policy.verdict_rules()["run_date_far"].limits
    today = today or datetime.now(settings.zone).date()
    if abs(day - today).days <= limits["max_days_from_today"]:
        return
    landed = {landed_on for *_, landed_on in list_paths(settings)}
    nearest = min(landed, key=lambda each: (abs(each - day), each), default=None)
    if nearest and abs(nearest - day).days <= limits["max_days_from_landed"]:
        return
    files = f"the nearest landed file is of {nearest}" if nearest else "no file has landed"
    raise IntegrityError(
        f"{day} is {abs(day - today).days:,} days from today ({today}), and {files}: the date may "
        "be mistyped. A run closes every date up to its own, so nothing was run or closed. Limits: "
        f"{limits['max_days_from_today']:.0f} days from today or "
        f"{limits['max_days_from_landed']:.0f} from a landed file (run_date_far in "
        "expectations/policy/verdict.yml). Correct the date, or add --allow-far-date to run it."
    )
