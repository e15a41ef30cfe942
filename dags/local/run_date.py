"""Refuse a run date that is far from today and from every landed file, or that lies in the future.

A run closes every date up to its own, so a year typed wrong would close all days before it, and a
run of tomorrow would make late files of all that is still to come. Simulated and imported data may
lie in any year: there the landed files say which dates exist.
"""

from datetime import date, datetime

from expectations import policy
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.ingest.landing import list_paths


def check_run_date(settings: Settings, day: date, today: date | None = None) -> None:
    """Refuse `day` if it is far from today and from the nearest date of a landed file.

    A date later than today is also refused unless a file of it has landed, or one of a date shortly
    after it.

    Raises:
        IntegrityError: It is. Nothing was run or closed.
    """
    limits = policy.verdict_rules()["run_date_far"].limits
    today = today or datetime.now(settings.zone).date()
    if day <= today and (today - day).days <= limits["max_days_from_today"]:
        return
    landed = {landed_on for *_, landed_on in list_paths(settings)}
    if day > today:
        _check_future_date(day, today, landed, limits["max_days_from_landed"])
        return
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


def _check_future_date(day: date, today: date, landed: set[date], most_days: float) -> None:
    """Refuse a date after today of which, and shortly after which, no file has landed."""
    if any(0 <= (each - day).days <= most_days for each in landed):
        return
    newest = f"the newest landed file is of {max(landed)}" if landed else "no file has landed"
    raise IntegrityError(
        f"{day} is later than today ({today}), and {newest}: the date may be mistyped, or its "
        "files are still to come. A run closes every date up to its own, so nothing was run or "
        f"closed. Limit: a file of the date itself or of the {most_days:.0f} days after it "
        "(run_date_far in expectations/policy/verdict.yml). Correct the date, run it when it is "
        "over, or add --allow-far-date to run it now."
    )
