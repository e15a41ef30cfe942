"""What has moved, as plain values: one figure per thing that is compared."""

from dataclasses import dataclass
from typing import Literal

State = Literal["steady", "watch", "drift"]
Topic = Literal["leads", "scores", "volume", "cost", "approval", "changed", "offer"]
"""What a figure tells of: the leads' features, the models' scores, leads a day, cost per lead,
approvals against what was predicted, products that changed, what the open products offer."""
Grouping = Literal["all", "channel", "industry", "institution"]


@dataclass(frozen=True)
class Figure:
    """One thing now, compared with the reference."""

    topic: Topic
    what: str
    """Column or measure."""
    grouping: Grouping
    group: str
    """Name of the channel, industry or institution; empty for all."""
    statistic: Literal["psi", "mean", "ratio", "share"]
    value: float
    """The statistic now. `psi` compares by itself; a `ratio` is observed over predicted."""
    reference: float | None
    """The same in the reference; None for `psi`."""
    distance: float
    """How far the two lie apart, on the scale of the lines; for `psi` its value."""
    watch_from: float
    threshold: float
    """Distance from which on it is drift, if chance does not explain it."""
    p_value: float | None
    """How often chance alone goes so far, once adjusted for how many figures there are; None
    where the figure is no sample."""
    rows: int
    """Leads, decisions or products now."""
    reference_rows: int
    reference_days: int
    level: float | None = None
    """Which way `psi` went: the mean of a number's known values now, of a text the share of
    `level_of`."""
    reference_level: float | None = None
    level_of: str = ""
    """The value of a text that moved most."""
    state: State = "steady"


@dataclass(frozen=True)
class Drift:
    """All that was compared for a day."""

    current_days: tuple[str, ...] = ()
    """Dates that are looked at together."""
    reference_days: tuple[str, ...] = ()
    """Dates before them that are published."""
    least_reference_days: int | None = None
    """Fewer are no reference; None where nothing was compared."""
    figures: tuple[Figure, ...] = ()

    @property
    def has_reference(self) -> bool:
        """Return whether enough days before are published to compare the leads with."""
        return len(self.reference_days) >= (self.least_reference_days or 1)
