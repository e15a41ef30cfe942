"""The report of a day: one page for people and `quality.json` for programs, from what stands."""

from dataclasses import asdict
from datetime import date
from typing import Any

from pipelines.core.publishing import publishing, write_json
from pipelines.core.settings import Settings
from pipelines.reports.load_report import gather
from pipelines.reports.page import render
from pipelines.reports.report_data import Facts

__all__ = ["report"]


def report(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `reports/date=day`: `index.html` and `quality.json`, the same facts in both.

    It works whatever happened before: what is missing, stale or unreadable is said on the page.

    Returns:
        The state of the day (complete, findings, incomplete), how many findings there are, and
        the day's headline figures, null where they are not known.
    """
    facts = gather(settings, day)
    with publishing(settings.day_folder(settings.reports, day), {"state": facts.state}) as folder:
        (folder / "index.html").write_text(render(facts), "utf-8")
        write_json(folder / "quality.json", as_json(facts))
    return _headline(facts)


def as_json(facts: Facts) -> dict[str, Any]:
    """Return `facts` as `quality.json` holds them."""
    return asdict(facts) | {"day": f"{facts.day}", "state": facts.state}


def _headline(facts: Facts) -> dict[str, Any]:
    leads = facts.matching.leads
    return {
        "state": facts.state,
        "findings": len(facts.findings),
        "received": leads and leads.received,
        "matched": leads and leads.matched,
        "matches": facts.matching.matches,
    }
