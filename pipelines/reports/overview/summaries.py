"""What the pages of all days, weeks and months show of each date, kept in `reports/days.json`.

A report holds over a megabyte of `quality.json`. The summaries only speed the pages up: dates that
are missing there are read from their reports.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from expectations import policy
from pipelines.core.formats import share
from pipelines.core.publishing import write_json
from pipelines.core.rendering.html import Tile
from pipelines.core.settings import Settings
from pipelines.core.translation import Catalogue, Text, from_json, text
from pipelines.reports.reconcile_day import read_quality

SUMMARIES = "days.json"
VERSION = 3
"""Version of the summaries; the ones of another version are made again."""
MAX_RULES = 10
LABELS = {
    "fit": text("fit"),
    "remarks": text("fit with remarks"),
    "not_fit": text("not fit"),
    "unknown": text("no report"),
}
"""Verdict -> its words."""
SLIPS = {
    "rejected": text("Files rejected"),
    "late": text("Files late"),
    "silent": text("Silent"),
    "quarantined": text("Rows quarantined"),
}
"""What a source can let slip -> its heading."""

Facts = dict[str, Any]


def update_summaries(settings: Settings, day: date) -> dict[str, Facts]:
    """Return the summary of every date, with `day` as its report is now, and store them."""
    path = settings.reports / SUMMARIES
    stored = _read_summaries(path)
    stored.pop(f"{day}", None)
    dates = sorted(path.name.removeprefix("date=") for path in settings.reports.glob("date=*"))
    summaries = {name: stored.get(name) or summarise(settings, name) for name in dates}
    write_json(path, {"version": VERSION, "days": summaries})
    return summaries


def summarise(settings: Settings, name: str) -> Facts:
    """Return what the pages show of a date: verdict, leads, findings, rules, conduct, fairness."""
    quality = read_quality(settings, date.fromisoformat(name))
    matching = quality.get("matching") or {}
    rules: Counter[str] = Counter()
    for row in quality.get("quarantine") or ():
        name = f"{row['feed']}/{row['column'] or ''}/{row['rule']}"
        rules[name] += max(row["rows"], row["records"])  # an emptied value keeps its row
    return {
        "verdict": quality.get("verdict", "unknown"),
        "reasons": quality.get("reason_texts", quality.get("reasons", [])),
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
        "rules": dict(_most_common(rules)),
        "slips": _find_slips(quality),
        "conduct": _summarise_conduct(quality),
        "fairness": _summarise_fairness(quality),
    }


def _read_summaries(path: Path) -> dict[str, Facts]:
    """Return the stored summaries; empty if there are none that this version can read."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        return dict(stored["days"]) if stored["version"] == VERSION else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _find_slips(quality: Facts) -> dict[str, dict[str, int]]:
    """Return FEED/SOURCE -> what it let slip, with the number of files, days or rows."""
    slips: dict[str, dict[str, int]] = defaultdict(dict)
    for row in quality.get("intake") or ():
        source = f"{row['feed']}/{row['source']}"
        if row["rejected_files"]:
            slips[source]["rejected"] = row["rejected_files"]
        if row["quarantined"]:
            slips[source]["quarantined"] = row["quarantined"]
    for source in _late_sources(quality):
        slips[source]["late"] = slips[source].get("late", 0) + 1
    for channel in (quality.get("matching") or {}).get("silent_channels", ()):
        slips[f"leads/{channel}"]["silent"] = 1
    return dict(sorted(slips.items()))


def _late_sources(quality: Facts) -> Iterator[str]:
    for file in quality.get("landed_files") or ():
        if file["is_late"]:
            yield "/".join(file["path"].split("/")[:2])


def _summarise_conduct(quality: Facts) -> Facts:
    """Return the day's figures on conduct; empty if an earlier version made the report."""
    conduct = quality.get("conduct")
    if not conduct:
        return {}
    consents, notices, caps = (
        conduct[name] for name in ("consent_institutions", "notices", "caps")
    )
    hopeless, surplus = conduct["hopeless"], (quality.get("matching") or {}).get("day_surplus")
    return {
        "matches": sum(row["matches"] for row in consents),
        "named": sum(row["named"] for row in consents),
        "notices_open": sum(row["open"] for row in notices),
        "notices_overdue": sum(row["overdue"] for row in notices),
        "open_above_cap": sum(row["open_above"] for row in caps),
        "matches_above_cap": sum(row["matches_above"] for row in caps),
        "silent_orders": sum(not row["matched"] for row in conduct["orders"] if row["source"]),
        "hopeless": hopeless and hopeless["hopeless"],
        "steered": surplus and surplus["steered_by_fee"],
        "lenders_worse": sum(row["is_worse"] for row in conduct["lenders"]),
    }


MEASURES = ("approved", "matched")
"""Measures of fairness over time, the first that is known of an attribute."""


def _summarise_fairness(quality: Facts) -> Facts:
    """Return by attribute the group that is approved least among comparable people.

    Of an attribute of whose groups too few people are decided: the group that is matched least.
    """
    treatment = quality.get("treatment") or {}
    least: dict[str, Facts] = {}
    for row in treatment.get("groups") or ():
        found = row["controlled"]
        if row["measure"] not in MEASURES or not found or found["ratio"] is None:
            continue
        rank = (MEASURES.index(row["measure"]), found["ratio"])
        before = least.get(row["attribute"])
        if before is None or rank < (MEASURES.index(before["measure"]), before["ratio"]):
            kept = {name: found[name] for name in ("ratio", "ratio_low", "ratio_high")}
            named = {name: row[name] for name in ("group", "people", "measure")}
            least[row["attribute"]] = kept | named
    if not treatment:
        return {}
    lenders = sum(row["is_beyond"] for row in treatment.get("lenders") or ())
    return {"attributes": least, "lenders_beyond": lenders}


def share_of(facts: Mapping[str, Any], destination: str) -> float | None:
    """Return the share of a day's received leads that ended in `destination`."""
    received = facts["leads"].get("received")
    return facts["leads"][destination] / received if received else None


def count_over(name: str, days: list[Facts]) -> list[tuple[str, int, int]]:
    """Return (name, number, days with it) over `days`, the most frequent first."""
    total: Counter[str] = Counter()
    on: Counter[str] = Counter()
    for facts in days:
        total.update(facts[name])
        on.update(facts[name].keys())
    return [(key, number, on[key]) for key, number in _most_common(total)]


def _most_common(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return the `MAX_RULES` most frequent, equal ones by name: stored days come in any order."""
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MAX_RULES]


def count_slips(days: list[Facts]) -> list[tuple[str, dict[str, int], int]]:
    """Return (source, number of each slip, days with any) over `days`, most days first."""
    total: dict[str, Counter[str]] = defaultdict(Counter)
    on: Counter[str] = Counter()
    for facts in days:
        for source, slips in facts["slips"].items():
            total[source].update(slips)
            on[source] += 1
    ranked = sorted(total, key=lambda source: (-on[source], -total[source].total(), source))
    return [(source, dict(total[source]), on[source]) for source in ranked]


def restore_reasons(summaries: Mapping[str, Facts]) -> dict[str, Facts]:
    """Return `summaries` with the reasons of each date as texts that can be translated."""
    return {
        name: facts | {"reasons": list(map(from_json, facts["reasons"]))}
        for name, facts in summaries.items()
    }


def name_rules(counted: list[tuple[str, int, int]]) -> dict[str, Text | None]:
    """Return rule of the verdict -> its words without figures; None of one that is no more."""
    rules = policy.verdict_rules()
    return {
        name: _without_figures(rules[name].wording) if name in rules else None
        for name, *_ in counted
    }


class RuleName(Text):
    """The words of a rule without figures: a figure at the end, or in brackets, is left out."""

    def write(self, catalogue: Catalogue) -> str:
        """Return the words in the language of `catalogue`."""
        return LEFT_OUT.sub("", super().write(catalogue))


LEFT_OUT = re.compile(
    r"\s*[(\uff08][^()\uff08\uff09]*…[^()\uff08\uff09]*[)\uff09]"
    r"|[:\uff1a]\s*…(?=\s*(?:$|[(\uff08]))"
)
"""Figures of a rule that its name can do without, also between Chinese brackets."""

NAMED = {"files": text("files"), "source": text("a source")}
"""Figures of a rule that its name has in words, because nothing would be left of it."""


def _without_figures(wording: str) -> Text:
    figures = {name: NAMED.get(name, "…") for name in re.findall(r"\{(\w+)\}", wording)}
    filled = Text.fill(wording, figures)
    named = RuleName(LEFT_OUT.sub("", filled))
    named.template, named.figures = filled.template, filled.figures
    return named


def plot_shares(days: list[tuple[str, Facts]]) -> dict[str, Any]:
    """Return what the plots of shares by date read."""
    return {
        "dates": [name for name, _ in days],
        "matched": [share_of(facts, "matched") for _, facts in days],
        "lost": [share_of(facts, "quarantined") for _, facts in days],
        "not_fit": [at for at, (_, facts) in enumerate(days) if facts["verdict"] == "not_fit"],
    }


def make_tiles(summaries: Mapping[str, Facts]) -> list[Tile]:
    """Return the large figures over the dates of `summaries`."""
    verdicts = Counter(facts["verdict"] for facts in summaries.values())
    received = sum(facts["leads"].get("received", 0) for facts in summaries.values())
    matched = sum(facts["leads"].get("matched", 0) for facts in summaries.values())
    first, *_ = [*summaries, ""]
    headings = {
        "fit": text("Fit"), "remarks": text("Fit with remarks"), "not_fit": text("Not fit")
    }  # fmt: skip
    return [
        Tile(
            text("Days"), f"{len(summaries):,}", text("since {first}", first=first) if first else ""
        ),
        *(
            Tile(heading, f"{verdicts[name]:,}", share(verdicts[name], len(summaries)))
            for name, heading in headings.items()
        ),
        Tile(
            text("Leads received"),
            f"{received:,}",
            text("{share} matched", share=share(matched, received)),
        ),
    ]
