"""What of the drift figures is shown: what was compared, what moved, and in which words."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.core.formats import NOTHING, count, figure, money, plural, share, words
from pipelines.evaluation.drift.figures import Drift, Figure, Grouping, Topic
from pipelines.reports.report_data import Finding

TOPICS: dict[Topic, str] = {
    "leads": "Features of the leads",
    "scores": "Scores of the models",
    "volume": "Leads a day",
    "cost": "Cost per lead",
    "approval": "Approved to predicted",
    "changed": "Products that changed",
    "offer": "What open products offer",
}
"""Topic -> its name on the page, in the order of the page."""
FINDINGS: dict[Topic, str] = {
    "leads": "The leads of {of} have drifted",
    "scores": "The scores of {of} have drifted",
    "volume": "The number of leads of {of} has drifted",
    "cost": "The cost per lead of {of} has drifted",
    "approval": "Approvals of {of} are not what was predicted",
    "changed": "Many products have changed since the day before",
    "offer": "What open products offer has changed",
}
"""Topic -> what is said of it among the findings."""
NAMES = {
    "exclusion_detail": "leads set aside",
    "pd": "risk (PD)",
    "p_approve": "chance of approval",
    "p_fund": "chance of take-up",
}
"""Columns whose names alone would not be understood."""
LARGE = 100
"""From here on a mean has no decimals."""
MOST_GROUPS, MOST_FIGURES = 5, 3
"""Groups that a finding tells, and figures of each, before it only counts the rest."""
SLOTS, SLOTS_END = 30, 1.5
"""Into how many parts a strip is cut, and where it ends; 1 is the line of drift."""


@dataclass(frozen=True)
class Compared:
    """One line of what was compared: how many figures of a topic are in which state."""

    topic: str
    figures: int
    steady: int
    watch: int
    drift: int
    strip: tuple[int, ...]
    """Figures by their distance in parts of the line of drift; the last part holds all beyond."""


def compared(drift: Drift) -> list[Compared]:
    """Return one line for each topic that has figures."""
    by_topic: dict[Topic, list[Figure]] = defaultdict(list)
    for found in drift.figures:
        by_topic[found.topic].append(found)
    return [_compared(topic, by_topic[topic]) for topic in TOPICS if topic in by_topic]


def _compared(topic: Topic, figures: Sequence[Figure]) -> Compared:
    states = Counter(found.state for found in figures)
    slots = Counter(
        min(int(SLOTS * found.distance / found.threshold / SLOTS_END), SLOTS - 1)
        for found in figures
    )
    return Compared(
        topic=TOPICS[topic],
        figures=len(figures),
        steady=states["steady"],
        watch=states["watch"],
        drift=states["drift"],
        strip=tuple(slots[slot] for slot in range(SLOTS)),
    )


def moved(drift: Drift) -> list[Figure]:
    """Return the figures beyond their lines: drift before watch, the farthest first."""
    found = [figure for figure in drift.figures if figure.state != "steady"]
    return sorted(found, key=lambda row: (row.state != "drift", -row.distance / row.threshold))


def of(row: Figure) -> str:
    """Return whose figure it is."""
    if row.grouping == "all":
        return "all together"
    return f"industry {row.group}" if row.grouping == "industry" else row.group


def named(row: Figure) -> str:
    """Return what the figure is of, in words."""
    name = NAMES.get(row.what, words(row.what))
    return f"{name}: {words(row.level_of)}" if row.level_of else name


def now(row: Figure) -> str:
    """Return the figure as it is now."""
    return _shown(row, row.level if row.statistic == "psi" else row.value)


def before(row: Figure) -> str:
    """Return the figure as it was in the reference."""
    return _shown(row, row.reference_level if row.statistic == "psi" else row.reference)


def _shown(row: Figure, value: float | None) -> str:
    if value is None:
        return NOTHING
    if row.level_of:
        return share(value)
    if row.statistic == "psi":
        return count(value) if abs(value) >= LARGE else f"{value:.3g}"
    if row.statistic == "share" or row.what == "highest annual cost":
        return share(value)
    if row.topic == "cost":
        return money(value)
    return count(value) if row.statistic == "mean" else figure(value)


def drift_findings(drift: Drift) -> Iterator[Finding]:
    """Yield one finding for each topic and kind of group that drifts."""
    found: dict[tuple[Topic, Grouping], dict[str, list[Figure]]] = defaultdict(dict)
    for row in moved(drift):
        if row.state == "drift":
            found[row.topic, row.grouping].setdefault(row.group, []).append(row)
    for (topic, grouping), groups in sorted(found.items()):
        told = [_evidence(group, rows) for group, rows in groups.items()]
        more = f"; and {len(told) - MOST_GROUPS} more" if told[MOST_GROUPS:] else ""
        yield Finding(
            "act",
            FINDINGS[topic].format(of=_whose(topic, grouping, len(groups))),
            " | ".join(told[:MOST_GROUPS]) + more,
        )


def _whose(topic: Topic, grouping: Grouping, groups: int) -> str:
    if grouping == "all":
        return "all institutions" if topic == "approval" else "all channels"
    return plural(groups, grouping, "industries" if grouping == "industry" else None)


def _evidence(group: str, rows: Sequence[Figure]) -> str:
    told = "; ".join(_told(row) for row in rows[:MOST_FIGURES])
    more = f" and {plural(len(rows) - MOST_FIGURES, 'more figure')}" if rows[MOST_FIGURES:] else ""
    return f"{of(rows[0])}: {told}{more}" if group else f"{told}{more}"


def _told(row: Figure) -> str:
    index = f" (index {figure(row.value)})" if row.statistic == "psi" else ""
    return f"{named(row)} {now(row)}, before {before(row)}{index}"
