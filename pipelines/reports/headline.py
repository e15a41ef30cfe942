"""What stands at the top of the page: the state of the day and its few large figures."""

from dataclasses import dataclass

from pipelines.core.formats import NOTHING, count, plural, share
from pipelines.core.html import Tile
from pipelines.reports.report_data import Facts

STATES = {
    "complete": ("Complete.", "Every step is published and every count adds up."),
    "findings": (
        "Complete, with something to look at.",
        "Every step is published and every count adds up.",
    ),
    "incomplete": (
        "Incomplete.",
        "A step is missing, stale or does not add up; do not rely on this day yet.",
    ),
}
WEIGHTS = {"incomplete": "incomplete", "act": "look", "note": "note"}
MEANINGS = {
    "quarantined": "rows that broke a critical rule; kept as received, with the reason",
    "duplicates": "the same lead again, or the same person within the window of days",
    "suppressed": "asked not to be contacted, or to be erased; nobody may receive them",
    "unmatched": "no product could take them; the reasons are listed below",
    "matched": "sent to at least one institution",
}


@dataclass(frozen=True)
class Step:
    """One line of the waterfall: `count` leads, drawn from `start` on."""

    kind: str
    count: int
    start: int
    meaning: str


class Headline:
    """The top of the page, worded and formatted, of one day's facts."""

    def __init__(self, facts: Facts):
        self._facts = facts

    @property
    def state(self) -> str:
        """Return the state of the day in a few words."""
        return STATES[self._facts.state][0]

    @property
    def why(self) -> str:
        """Return what the state means."""
        return STATES[self._facts.state][1]

    @property
    def tiles(self) -> list[Tile]:
        """Return the large figures; a dash stands for what is not known."""
        matching = self._facts.matching
        received, matched = self._leads("received"), self._leads("matched")
        served = sum(row.matches > 0 for row in matching.institutions)
        files = sum(row.files for row in self._facts.borders)
        refused = sum(row.refused_files for row in self._facts.borders)
        offering = f"of {len(matching.institutions)} with an open product"
        return [
            Tile("Leads received", count(received), self._channels),
            Tile("Leads matched", count(matched), f"{share(matched, received)} of received"),
            Tile("Matches", count(matching.matches), self._per_lead),
            Tile("Institutions served", count(served) if matching.matches else NOTHING, offering),
            Tile("Files refused", count(refused), f"of {plural(files, 'file')}"),
        ]

    def _leads(self, name: str) -> int | None:
        leads = self._facts.matching.leads
        return leads.as_dict()[name] if leads else None

    @property
    def _channels(self) -> str:
        channels = {row.source for row in self._facts.borders if row.feed == "leads"}
        return f"from {plural(len(channels), 'channel')}"

    @property
    def _per_lead(self) -> str:
        matching = self._facts.matching
        if matching.matches is None or not matching.leads or not matching.leads.matched:
            return NOTHING
        return f"{matching.matches / matching.leads.matched:.2f} a matched lead"

    @property
    def accounted_for(self) -> int:
        """Leads in all five destinations; equals those received unless something is wrong."""
        return sum(leads for _, leads in self.parts)

    @property
    def adds_up(self) -> bool:
        """Return whether each lead received is in exactly one of the five destinations."""
        leads = self._facts.matching.leads
        return leads is not None and leads.received == self.accounted_for

    @property
    def waterfall(self) -> list[Step]:
        """Return the leads as they leave the flow, one line each, until the matched remain."""
        leads = self._facts.matching.leads
        if leads is None:
            return []
        lines = [Step("received", leads.received, 0, "in the files of the channels")]
        left = leads.received
        for kind in ("quarantined", "duplicates", "suppressed", "unmatched"):
            gone = getattr(leads, kind)
            left -= gone
            lines.append(Step(kind, gone, max(left, 0), MEANINGS[kind]))
        return [*lines, Step("matched", leads.matched, 0, MEANINGS["matched"])]

    @property
    def parts(self) -> list[tuple[str, int]]:
        """Return the five destinations of a lead with their counts, matched first."""
        leads = self._facts.matching.leads
        order = ("matched", "unmatched", "suppressed", "duplicates", "quarantined")
        return [(kind, getattr(leads, kind)) for kind in order] if leads else []

    @property
    def most_unmatched(self) -> int:
        """Return the end of the scale of unmatched leads."""
        return max((row.count for row in self._facts.matching.stages), default=0)
