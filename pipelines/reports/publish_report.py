"""Publish the report of a day: one page for people and `quality.json` for programs.

It reads what was published, never the steps themselves.
"""

from dataclasses import asdict
from datetime import date
from typing import Any

from pipelines.core.publishing import publishing, write_json
from pipelines.core.settings import Settings
from pipelines.reports.day_index import write_day_index
from pipelines.reports.load_report import load_report
from pipelines.reports.month_pages import write_month_pages
from pipelines.reports.page import render
from pipelines.reports.report_data import Report


def report(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `reports/date=day`: `index.html` and `quality.json`, the same facts in both.

    The pages of the months and the page of all days, `reports/index.html`, are written again.

    It works after any failure: the page names each result that is missing, stale or unreadable.

    Returns:
        The verdict (fit, remarks, not_fit), the number of findings, and the day's headline
        figures; a figure is None if it is not known.
    """
    loaded = load_report(settings, day)
    with publishing(
        settings.day_folder(settings.reports, day), {"verdict": loaded.verdict.name}
    ) as folder:
        (folder / "index.html").write_text(render(loaded), "utf-8")
        write_json(folder / "quality.json", as_json(loaded))
    write_day_index(settings, day, write_month_pages(settings))
    leads = loaded.matching.leads
    return {
        "verdict": loaded.verdict.name,
        "findings": len(loaded.findings),
        "received": leads and leads.received,
        "matched": leads and leads.matched,
        "matches": loaded.matching.matches,
    }


def as_json(loaded: Report) -> dict[str, Any]:
    """Return the content of `quality.json`."""
    verdict = loaded.verdict
    return asdict(loaded, dict_factory=_plain) | {
        "day": f"{loaded.day}",
        "verdict": verdict.name,
        "reasons": [finding.title for finding in verdict.reasons],
    }


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a part with dates as text."""
    return {name: _as_text(value) for name, value in fields}


def _as_text(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple | list) and any(isinstance(each, date) for each in value):
        return [_as_text(each) for each in value]
    return value
