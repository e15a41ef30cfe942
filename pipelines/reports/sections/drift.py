"""The drift figures on the page: how many of each topic drift, and the text of each figure."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.core.formats import NOTHING, count, figure, money, share
from pipelines.core.translation import join, text, words
from pipelines.evaluation.drift.comparison import Drift, Figure, Topic

TOPICS: dict[Topic, str] = {
    "leads": text("Features of the leads"),
    "scores": text("Scores of the models"),
    "volume": text("Leads a day"),
    "cost": text("Cost per lead"),
    "approval": text("Approved to predicted"),
    "changed": text("Products that changed"),
    "offer": text("What open products offer"),
}
"""Topic -> its name on the page, in the order of the page."""
NAMES = {
    "exclusion_detail": text("leads excluded from matching"),
    "pd": text("risk (PD)"),
    "p_approve": text("probability of approval"),
    "p_fund": text("probability of take-up"),
}
"""Column -> a name that is easier to understand."""
LARGE = 100
"""A mean from here on has no decimals."""
SLOTS, SLOTS_END = 30, 1.5
"""Slots of a density strip, and its end in multiples of the drift threshold."""


@dataclass(frozen=True)
class TopicSummary:
    """The number of figures of one topic in each state."""

    topic: str
    figures: int
    steady: int
    watch: int
    drift: int
    strip: tuple[int, ...]
    """Figures by distance in fractions of the drift threshold; the last slot holds all beyond."""


def summarize_topics(drift: Drift) -> list[TopicSummary]:
    """Return one line for each topic that has figures."""
    by_topic: dict[Topic, list[Figure]] = defaultdict(list)
    for row in drift.figures:
        by_topic[row.topic].append(row)
    return [_summary(topic, by_topic[topic]) for topic in TOPICS if topic in by_topic]


def _summary(topic: Topic, figures: Sequence[Figure]) -> TopicSummary:
    states = Counter(row.state for row in figures)
    slots = Counter(
        min(int(SLOTS * row.distance / row.drift_threshold / SLOTS_END), SLOTS - 1)
        for row in figures
    )
    return TopicSummary(
        topic=TOPICS[topic],
        figures=len(figures),
        steady=states["steady"],
        watch=states["watch"],
        drift=states["drift"],
        strip=tuple(slots[slot] for slot in range(SLOTS)),
    )


def select_beyond_threshold(drift: Drift) -> list[Figure]:
    """Return the figures in state drift, then watch, the farthest first."""
    rows = [row for row in drift.figures if row.state != "steady"]
    return sorted(rows, key=lambda row: (row.state != "drift", -row.distance / row.drift_threshold))


def group_label(row: Figure) -> str:
    """Return the name of the figure's group."""
    if row.grouping == "all":
        return text("all together")
    is_industry = row.grouping == "industry"
    return text("industry {name}", name=row.group) if is_industry else row.group


def measure_label(row: Figure) -> str:
    """Return the name of the figure's measure."""
    name = NAMES.get(row.measure, words(row.measure))
    return join([name, words(row.category)], ": ") if row.category else name


def current_value(row: Figure) -> str:
    """Return the figure of the current days as text."""
    return _format(row, row.level if row.statistic == "psi" else row.value)


def reference_value(row: Figure) -> str:
    """Return the figure of the reference days as text."""
    return _format(row, row.reference_level if row.statistic == "psi" else row.reference)


def _format(row: Figure, value: float | None) -> str:
    if value is None:
        return NOTHING
    if row.category:
        return share(value)
    if row.statistic == "psi":
        return count(value) if abs(value) >= LARGE else f"{value:.3g}"
    if row.statistic == "share" or row.measure == "highest annual cost":
        return share(value)
    if row.topic == "cost":
        return money(value)
    return count(value) if row.statistic == "mean" else figure(value)
