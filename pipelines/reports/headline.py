"""The top of the page: the state of the day, a few large figures, the destinations of leads."""

from dataclasses import dataclass

from expectations.policy_types import Severity
from pipelines.core.formats import NOTHING, count, share
from pipelines.core.rendering.html import Tile
from pipelines.core.translation import Text, plural, text
from pipelines.reports.report_data import Report

SEVERITIES: dict[Severity, str] = {
    "not_fit": text("not fit"),
    "remark": text("remark"),
    "fit": text("note"),
}
"""Severity of a finding -> its label."""
VERDICTS: dict[Severity, Text] = {
    "fit": text("Fit"),
    "remark": text("Fit with remarks"),
    "not_fit": text("Not fit"),
}
"""Severity of the verdict -> its heading."""
EXPLANATIONS: dict[Severity, str] = {
    "fit": text(
        "Every step is published, every count adds up, and no rule of the verdict objects."
    ),
    "remark": text("The lead files may be used. Somebody should look at this:"),
    "not_fit": text("Don't send the lead files, or stop their use, until this is corrected:"),
}
"""Severity of the verdict -> its meaning, in front of the reasons."""
MEANINGS = {
    "received": text("in the files of the channels"),
    "quarantined": text("rows that broke a critical rule; stored as received, with the reason"),
    "duplicates": text("same row again, or same person within the window of days"),
    "suppressed": text("do not contact, erasure or fraud; no institution may receive them"),
    "unmatched": text("no product could take them; the reasons are listed below"),
    "matched": text("matched with at least one product"),
}
"""Destination of a lead -> its meaning."""


@dataclass(frozen=True)
class WaterfallStep:
    """One line of the waterfall: `count` leads, drawn from `start` on."""

    kind: str
    count: int
    start: int
    meaning: str


class Headline:
    """The top of the page, formatted, from one day's report."""

    def __init__(self, report: Report):
        self._report = report

    @property
    def verdict(self) -> str:
        """Return the verdict of the day in words: fit, fit with remarks, not fit."""
        return VERDICTS[self._report.verdict.severity]

    @property
    def explanation(self) -> str:
        """Return the meaning of the verdict."""
        return EXPLANATIONS[self._report.verdict.severity]

    @property
    def tiles(self) -> list[Tile]:
        """Return the large figures; a dash is an unknown value."""
        matching, intake = self._report.matching, self._report.intake
        received, matched = self._leads("received"), self._leads("matched")
        served = sum(row.matches > 0 for row in matching.institutions)
        channels = {row.source for row in intake if row.feed == "leads"}
        files = sum(row.files for row in intake)
        rejected = sum(row.rejected_files for row in intake)
        return [
            Tile(
                text("Leads received"),
                count(received),
                text("from {channels}", channels=plural(len(channels), "channel")),
            ),
            Tile(
                text("Leads matched"),
                count(matched),
                text("{share} of received", share=share(matched, received)),
            ),
            Tile(text("Matches"), count(matching.matches), self._matches_per_lead),
            Tile(
                text("Institutions served"),
                count(served) if matching.matches else NOTHING,
                text("of {number} with an open product", number=len(matching.institutions)),
            ),
            Tile(
                text("Files rejected"),
                count(rejected),
                text("of {files}", files=plural(files, "file")),
            ),
        ]

    def _leads(self, name: str) -> int | None:
        leads = self._report.matching.leads
        return leads.as_dict()[name] if leads else None

    @property
    def _matches_per_lead(self) -> str:
        matching = self._report.matching
        if matching.matches is None or not matching.leads or not matching.leads.matched:
            return NOTHING
        return text(
            "{number} per matched lead", number=f"{matching.matches / matching.leads.matched:.2f}"
        )

    @property
    def accounted_for(self) -> int:
        """Leads in all five destinations; equals the leads received if none is lost."""
        return sum(leads for _, leads in self.destinations)

    @property
    def adds_up(self) -> bool:
        """Return whether each lead received is in exactly one of the five destinations."""
        leads = self._report.matching.leads
        return leads is not None and leads.received == self.accounted_for

    @property
    def waterfall(self) -> list[WaterfallStep]:
        """Return one line for each destination that leads go to, until the matched remain."""
        leads = self._report.matching.leads
        if leads is None:
            return []
        lines = [WaterfallStep("received", leads.received, 0, MEANINGS["received"])]
        remaining = leads.received
        for kind in ("quarantined", "duplicates", "suppressed", "unmatched"):
            removed = getattr(leads, kind)
            remaining -= removed
            lines.append(WaterfallStep(kind, removed, max(remaining, 0), MEANINGS[kind]))
        return [*lines, WaterfallStep("matched", leads.matched, 0, MEANINGS["matched"])]

    @property
    def destinations(self) -> list[tuple[str, int]]:
        """Return the five destinations of a lead with their counts, matched first."""
        leads = self._report.matching.leads
        order = ("matched", "unmatched", "suppressed", "duplicates", "quarantined")
        return [(kind, getattr(leads, kind)) for kind in order] if leads else []

    @property
    def largest_stage(self) -> int:
        """Return the most leads of a stage, the end of the scale of unmatched leads."""
        return max((row.count for row in self._report.matching.stages), default=0)
