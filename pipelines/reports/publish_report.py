"""Publish the report of a day: a page for people, by language, and `quality.json` for programs.

It reads what was published, never the steps themselves.
"""

from dataclasses import asdict
from datetime import date
from typing import Any

from pipelines.core.publishing import publishing, write_json
from pipelines.core.settings import Settings
from pipelines.core.translation import to_json
from pipelines.reports.day_index import write_day_index
from pipelines.reports.load_report import load_report
from pipelines.reports.page import render
from pipelines.reports.report_data import Report
from pipelines.reports.sections.catalogue import find_day_before


def report(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `reports/date=day`: the page in each language and `quality.json`, the same facts.

    The pages of all days and of its week and month are written again.

    It works after any failure: the page names each result that is missing, stale or unreadable.

    Returns:
        The verdict (fit, remarks, not_fit), the number of findings, and the day's headline
        figures; a figure is None if it is not known.
    """
    loaded = load_report(settings, day)
    with publishing(
        settings.day_folder(settings.reports, day), {"verdict": loaded.verdict.name}
    ) as folder:
        for name, page in render(loaded, find_day_before(settings.matches, day)).items():
            (folder / name).write_text(page, "utf-8")
        write_json(folder / "quality.json", as_json(loaded))
    write_day_index(settings, day)
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
    return asdict(loaded) | {
        "day": f"{loaded.day}",
        "verdict": verdict.name,
        "reasons": [finding.title for finding in verdict.reasons],
        "reason_texts": [to_json(finding.title) for finding in verdict.reasons],
    }
