"""A comparison of current days with reference days: its window, its figures and their states."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from expectations import policy
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings

State = Literal["steady", "watch", "drift"]
Topic = Literal["leads", "scores", "volume", "cost", "approval", "changed", "offer"]
"""Topic of a figure: features of the leads, scores of the models, leads a day, cost per lead,
approvals against predictions, products that changed, terms of the open products."""
Grouping = Literal["all", "channel", "industry", "institution"]


@dataclass(frozen=True)
class Figure:
    """One measure of one group in the current days, compared with the reference."""

    topic: Topic
    measure: str
    """Column, or name of the measure."""
    grouping: Grouping
    group: str
    """Name of the channel, industry or institution; empty for all."""
    statistic: Literal["psi", "mean", "ratio", "share"]
    value: float
    """The statistic now. `psi` is itself a comparison; a `ratio` is observed over predicted."""
    reference: float | None
    """The same statistic in the reference; None for `psi`."""
    distance: float
    """Distance of the two on the scale of the thresholds; for `psi` its value."""
    watch_threshold: float
    drift_threshold: float
    """Distance from which on the figure drifts, unless chance explains it."""
    p_value: float | None
    """Probability of such a distance by chance, adjusted for multiple testing; None if the figure
    is not a sample."""
    rows: int
    """Leads, decisions or products now."""
    reference_rows: int
    reference_days: int
    level: float | None = None
    """Direction of `psi`: the mean of a number's known values now, or the share of `category`."""
    reference_level: float | None = None
    category: str = ""
    """The category of a text column that moved most."""
    state: State = "steady"


@dataclass(frozen=True)
class Drift:
    """All figures of a day."""

    current_days: tuple[str, ...] = ()
    """Dates that are compared with the reference, taken together."""
    reference_days: tuple[str, ...] = ()
    """Dates before them that are published."""
    min_reference_days: int | None = None
    """Fewer days are no reference; None if nothing was compared."""
    figures: tuple[Figure, ...] = ()

    @property
    def has_reference(self) -> bool:
        """Return whether enough days before are published to compare the leads with."""
        return len(self.reference_days) >= (self.min_reference_days or 1)


@dataclass(frozen=True)
class Window:
    """Published dates in order: the reference, and the current days."""

    reference: tuple[date, ...]
    current: tuple[date, ...]

    @property
    def days(self) -> tuple[date, ...]:
        """Return all dates, in order."""
        return self.reference + self.current

    @property
    def has_reference(self) -> bool:
        """Return whether the reference has enough days to measure the variance between days."""
        return bool(self.current) and len(self.reference) >= policy.drift().min_reference_days


def load_window(settings: Settings, root: Path, day: date) -> Window:
    """Return the window of `day` over the published partitions of `root`.

    Only `day` and earlier dates count, so a second computation of a day finds the same window.
    """
    rules = policy.drift()
    first_current = day - timedelta(days=rules.current_days - 1)
    published = [
        earlier
        for back in reversed(range(rules.current_days + rules.reference_days))
        if (settings.day_folder(root, earlier := day - timedelta(days=back)) / MANIFEST).is_file()
    ]
    return Window(
        reference=tuple(date for date in published if date < first_current),
        current=tuple(date for date in published if date >= first_current),
    )
