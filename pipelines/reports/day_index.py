"""The page of all days: `reports/index.html`, with the verdict and figures of every date.

A report holds over a megabyte of `quality.json`, so what the page shows of each date is kept in
`reports/days.json`. It only speeds the page up: dates that are missing there are read from their
reports. Both files are written again after each report, whole; neither is part of a published day.
"""

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.evidence.sign_offs import SignOff, read_sign_offs
from pipelines.core.formats import share
from pipelines.core.publishing import write_json
from pipelines.core.rendering.html import Tile, environment
from pipelines.core.settings import Settings
from pipelines.reports.month_pages import Month
from pipelines.reports.reconcile_day import read_quality

PAGE, SUMMARIES = "index.html", "days.json"
TEMPLATES = Path(__file__).parent / "templates"
VERSION = 1
"""Version of the summaries; the ones of another version are made again."""
PLOTTED_DAYS = 90
WEEK = 7
LABELS = {"fit": "fit", "remarks": "fit with remarks", "not_fit": "not fit", "unknown": "no report"}
"""Verdict -> its words."""

Facts = dict[str, Any]


def write_day_index(
    settings: Settings, day: date, months: Mapping[str, Month] = MappingProxyType({})
) -> Path:
    """Write the page of all days again, with `day` as its report is now; return its path.

    Args:
        settings: Settings of the home.
        day: The date whose report was written.
        months: The months that have a page, oldest first.
    """
    stored = _read_summaries(settings.reports / SUMMARIES)
    stored.pop(f"{day}", None)
    dates = sorted(path.name.removeprefix("date=") for path in settings.reports.glob("date=*"))
    summaries = {name: stored.get(name) or _summarise(settings, name) for name in dates}
    write_json(settings.reports / SUMMARIES, {"version": VERSION, "days": summaries})
    path = settings.reports / PAGE
    beside = path.with_name(f".{PAGE}.{os.getpid()}.new")  # a decision may come during a run
    page = render_day_index(summaries, months, _read_decisions(settings, dates))
    beside.write_text(page, "utf-8")
    beside.replace(path)
    return path


def _read_decisions(settings: Settings, dates: list[str]) -> dict[str, SignOff | None]:
    """Return date -> its newest decision; None where the ledger is damaged."""
    found: dict[str, SignOff | None] = {}
    for name in dates:
        try:
            entries = read_sign_offs(settings, date.fromisoformat(name))
        except (IntegrityError, ValueError):
            found[name] = None
        else:
            found |= {name: entries[-1]} if entries else {}
    return found


def render_day_index(
    summaries: Mapping[str, Facts],
    months: Mapping[str, Month] = MappingProxyType({}),
    decisions: Mapping[str, SignOff | None] = MappingProxyType({}),
) -> str:
    """Return the page of all days as HTML.

    Args:
        summaries: Date -> what `_summarise` returns, sorted by date.
        months: The months that have a page, oldest first.
        decisions: Date -> its newest decision, of the dates that have one; None: it is unreadable.
    """
    script = (TEMPLATES / "day_index.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    plotted = list(summaries.items())[-PLOTTED_DAYS:]
    week = [facts for _, facts in list(summaries.items())[-WEEK:]]
    return (
        environment(TEMPLATES)
        .get_template("day_index.html")
        .render(
            days=list(summaries.items())[::-1],
            labels=LABELS,
            decisions=decisions,
            tiles=_make_tiles(summaries),
            dates=[name for name, _ in plotted],
            matched=[_share_of(facts, "matched") for _, facts in plotted],
            lost=[_share_of(facts, "quarantined") for _, facts in plotted],
            not_fit=[at for at, (_, facts) in enumerate(plotted) if facts["verdict"] == "not_fit"],
            findings=_count_over("findings", week),
            rules=_count_over("rules", week),
            week=len(week),
            costs_of_months=[row for month in [*months.values()][::-1] for row in month.totals],
            script=script,
            script_hash=f"sha256-{digest}",
        )
    )


def _read_summaries(path: Path) -> dict[str, Facts]:
    """Return the stored summaries; empty if there are none that this version can read."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        return dict(stored["days"]) if stored["version"] == VERSION else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _summarise(settings: Settings, name: str) -> Facts:
    """Return what the page shows of a date: verdict, reasons, counts of leads, findings, rules."""
    quality = read_quality(settings, date.fromisoformat(name))
    matching = quality.get("matching") or {}
    rules: Counter[str] = Counter()
    for row in quality.get("quarantine") or ():
        rules[f"{row['feed']}: {row['column'] or 'file'}, {row['rule']}"] += row["rows"]
    return {
        "verdict": quality.get("verdict", "unknown"),
        "reasons": quality.get("reasons", []),
        "leads": matching.get("leads") or {},
        "matches": matching.get("matches"),
        "institutions": sum(bool(each["matches"]) for each in matching.get("institutions", ())),
        "findings": dict(
            Counter(
                finding["id"]
                for finding in quality.get("findings", ())
                if finding["severity"] != "fit"
            )
        ),
        "rules": dict(rules.most_common(10)),
    }


def _share_of(facts: Facts, destination: str) -> float | None:
    """Return the share of a day's received leads that ended in `destination`."""
    received = facts["leads"].get("received")
    return facts["leads"][destination] / received if received else None


def _make_tiles(summaries: Mapping[str, Facts]) -> list[Tile]:
    verdicts = Counter(facts["verdict"] for facts in summaries.values())
    received = sum(facts["leads"].get("received", 0) for facts in summaries.values())
    matched = sum(facts["leads"].get("matched", 0) for facts in summaries.values())
    first, *_ = [*summaries, ""]
    return [
        Tile("Days", f"{len(summaries):,}", f"since {first}" if first else ""),
        *(
            Tile(
                LABELS[name].capitalize(),
                f"{verdicts[name]:,}",
                share(verdicts[name], len(summaries)),
            )
            for name in ("fit", "remarks", "not_fit")
        ),
        Tile("Leads received", f"{received:,}", f"{share(matched, received)} matched"),
    ]


def _count_over(name: str, days: list[Facts]) -> list[tuple[str, int, int]]:
    """Return (name, number, days with it) over `days`, the most frequent first."""
    total: Counter[str] = Counter()
    on: Counter[str] = Counter()
    for facts in days:
        total.update(facts[name])
        on.update(facts[name].keys())
    return [(key, number, on[key]) for key, number in total.most_common(10)]
