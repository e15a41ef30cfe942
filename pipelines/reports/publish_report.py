"""Publish the report of a day: a page for people, by language, and `quality.json` for programs.

It reads what was published, never the steps themselves.
"""

from dataclasses import asdict
from datetime import date
from typing import Any

from expectations import policy
from pipelines.core.errors import IntegrityError
from pipelines.core.evidence.publication_log import log_day
from pipelines.core.evidence.sign_offs import hash_matches
from pipelines.core.publishing import MANIFEST, publishing, write_json
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.core.translation import to_json
from pipelines.reports.load_report import load_report
from pipelines.reports.overview.day_index import write_day_index
from pipelines.reports.page import render
from pipelines.reports.reconcile_day import published_folders
from pipelines.reports.report_data import Report
from pipelines.reports.sections.catalogue import find_day_before


def report(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `reports/date=day`: the page in each language and `quality.json`, the same facts.

    The pages of all days, of its week and of the months are written again.

    It works after any failure: the page names each result that is missing, stale or unreadable.

    Returns:
        The verdict (fit, remarks, not_fit), the number of findings, and the day's headline
        figures; a figure is None if it is not known.
    """
    is_logged = _log_finished(settings, day)
    loaded = load_report(settings, day)
    facts: dict[str, Any] = {
        "verdict": loaded.verdict.name,
        "matches": hash_matches(settings, day),
        "policies": policy.full_version(),
        "sign_offs": len(loaded.sign_offs),
    }
    if loaded.is_on_hold:
        facts["on_hold"] = True
    if loaded.log:
        facts["log"] = asdict(loaded.log)
    with publishing(settings.day_folder(settings.reports, day), facts) as folder:
        for name, page in render(loaded, find_day_before(settings.matches, day)).items():
            (folder / name).write_text(page, "utf-8")
        write_json(folder / "quality.json", as_json(loaded))
    if is_logged:
        log_day(settings, day)  # with the report itself
    write_day_index(settings, day)
    leads = loaded.matching.leads
    return {
        "verdict": loaded.verdict.name,
        "findings": len(loaded.findings),
        "received": leads and leads.received,
        "matched": leads and leads.matched,
        "matches": loaded.matching.matches,
    }


def _log_finished(settings: Settings, day: date) -> bool:
    """Log the folders of `day` if all of them are published; return whether they are.

    An unfinished day is logged when it is complete: so its leaves are the same whether it was
    interrupted or not. A damaged log is a finding of the report and fails the step `close`.
    """
    *folders, _ = published_folders(settings, day)
    is_finished = all((folder / MANIFEST).is_file() for folder in folders)
    if not is_finished or read_step_failures(settings, day):
        return False
    try:
        log_day(settings, day, with_report=False)
    except IntegrityError:
        return False
    return True


def as_json(loaded: Report) -> dict[str, Any]:
    """Return the content of `quality.json`."""
    verdict = loaded.verdict
    return asdict(loaded, dict_factory=_plain) | {
        "day": f"{loaded.day}",
        "verdict": verdict.name,
        "reasons": [finding.title for finding in verdict.reasons],
        "reason_texts": [to_json(finding.title) for finding in verdict.reasons],
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
