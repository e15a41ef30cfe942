"""The state of a home at a glance: the last dates, what is open, and what comes next."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from pipelines.core.evidence.sign_offs import LABELS, hash_matches, read_sign_offs
from pipelines.core.home.lock import describe_holder
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.core.step_failures import UNREPORTED, read_step_failures
from pipelines.core.step_measurements import read_measurements
from pipelines.core.stored_files import read_json
from pipelines.ingest.landing import list_paths
from pipelines.operations.alert_ledger import read_open_alerts
from pipelines.reports.reconcile_day import read_quality

MAX_DATES = 7
"""Last dates that the status shows."""


@dataclass(frozen=True)
class DateStatus:
    """One date that was run."""

    date: str
    verdict: str
    """fit, remarks or not_fit; `failed`: a step has failed; `unfinished`: no report yet."""
    received: int | None
    matched: int | None
    matches: int | None
    delivered: int
    """Lead files that were delivered."""
    held: int
    """Lead files that are held back."""
    seconds: float
    """Seconds of all steps in their last run."""
    reasons: tuple[str, ...]
    """The reasons of the verdict, or the messages of the failed steps."""
    sign_off: str
    """The newest decision, its author and its moment; empty without one."""


@dataclass(frozen=True)
class Status:
    """The state of a home."""

    home: str
    dates: tuple[DateStatus, ...]
    """The last dates, the newest last."""
    open_alerts: tuple[str, ...]
    """First lines of alerts that have not recovered."""
    at_work: str
    """The process that holds the lock of the home; empty if nobody does."""
    next_date: str
    """The first date after the newest one with a landed file; empty if there is none."""
    next_seconds: float
    """Seconds that a date took on the median of the dates shown."""


def load_status(settings: Settings) -> Status:
    """Return the state of the home; it changes nothing."""
    run_dates = sorted(_list_run_dates(settings))
    dates = tuple(_load_date(settings, day) for day in run_dates[-MAX_DATES:])
    newest = run_dates[-1] if run_dates else date.min
    landed = {landed_on for *_, landed_on in list_paths(settings)}
    following = min((day for day in landed if day > newest), default=None)
    seconds = sorted(day.seconds for day in dates if day.seconds)
    return Status(
        home=str(settings.home),
        dates=dates,
        open_alerts=tuple(_list_open_alerts(settings, run_dates[-MAX_DATES:])),
        at_work=describe_holder(settings),
        next_date=f"{following or ''}",
        next_seconds=seconds[len(seconds) // 2] if seconds else 0.0,
    )


def format_status(status: Status) -> str:
    """Return the status as lines for a terminal."""
    lines = [f"home       {status.home}"]
    lines += [_format_date(day) for day in status.dates] or ["           no date was run yet"]
    lines += [f"alert      {headline}" for headline in status.open_alerts]
    if status.at_work:
        lines.append(f"at work    {status.at_work}")
    takes = f"; a date takes about {status.next_seconds:.0f} s" if status.next_seconds else ""
    lines.append(f"next       {status.next_date or 'no file has landed for a later date'}{takes}")
    return "\n".join(lines)


def _format_date(day: DateStatus) -> str:
    leads = (
        f"{day.received:,} leads, {day.matched:,} matched, {day.matches:,} matches"
        if day.received is not None and day.matched is not None and day.matches is not None
        else "nothing is published"
    )
    held = f", {day.held:,} held" if day.held else ""
    files = f"{day.delivered:,} lead files{held}"
    line = f"{day.date} {day.verdict:<10} {leads}; {files}; {day.seconds:.0f} s"
    signed = [f"             signed off: {day.sign_off}"] if day.sign_off else []
    return "\n".join([line, *(f"             - {reason}" for reason in day.reasons), *signed])


def _list_run_dates(settings: Settings) -> Iterator[date]:
    """Yield each date that has a published table, matches or a report, or a failed step."""
    folders = (settings.reports, settings.matches, settings.marts, settings.step_failures)
    names = {path.name for folder in folders for path in folder.glob("date=*")}
    for name in names:
        yield date.fromisoformat(name.removeprefix("date="))


def _load_date(settings: Settings, day: date) -> DateStatus:
    quality = read_quality(settings, day)
    failures = [f"{step}: {message}" for step, message in read_step_failures(settings, day)]
    leads = quality.get("matching", {}).get("leads") or {}
    states = [
        read_json(path).get("version", 0)
        for path in settings.day_folder(settings.outbox, day).glob(f"*/{MANIFEST}")
    ]
    verdict = "failed" if failures else quality.get("verdict", "unfinished")
    return DateStatus(
        date=f"{day}",
        verdict=verdict,
        received=leads.get("received"),
        matched=leads.get("matched"),
        matches=quality.get("matching", {}).get("matches"),
        delivered=sum(version > 0 for version in states),
        held=sum(version == 0 for version in states),
        seconds=round(sum(each.seconds for each in read_measurements(settings, day)), 1),
        reasons=tuple(failures or quality.get("reasons", ())),
        sign_off=_describe_sign_off(settings, day),
    )


def _describe_sign_off(settings: Settings, day: date) -> str:
    entries = read_sign_offs(settings, day)
    if not entries:
        return ""
    newest = entries[-1]
    is_present = newest.matches == hash_matches(settings, day)
    earlier = "" if is_present else "; of earlier matches, the date was run again since"
    note = f": {newest.note}" if newest.note else ""
    return f"{LABELS[newest.decision]}, by {newest.by} at {newest.at}{earlier}{note}"


def _list_open_alerts(settings: Settings, days: list[date]) -> Iterator[str]:
    for day in days:
        for alert in read_open_alerts(settings, day).values():
            headline = f"{alert['date']} {alert['task']} ({alert['kind']}), sent at {alert['at']}"
            # the failure of any other step is with its date
            is_alone = alert["kind"] == "step_failed" and alert["task"] in UNREPORTED
            yield f"{headline}: {alert['message']}" if is_alone else headline
