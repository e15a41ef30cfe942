"""Charts of the scorecard's page as inline SVG: lines by day, calibration, intervals.

Colours come from the style sheet. Every number that a chart shows also stands in a table.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from pipelines.core.formats import MONTHS
from pipelines.evaluation.scorecard.calibration import Calibration

WIDE, HIGH = 520, 230
SQUARE = 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 26
"""Margins, in the units of the drawing: about pixels on a wide screen."""
TICKS = 4
DATES = 6
"""About so many ticks and dates stand on the axes."""
DOTS_UP_TO = 14
"""Where a line has no more days than this, each has a dot of its own."""

Band = tuple[Sequence[float | None], Sequence[float | None]]
"""The lower and the upper end of an interval, by day."""


@dataclass(frozen=True)
class _Axes:
    """Where a value lies in a drawing, and how it is written."""

    wide: int
    high: int
    right_end: float
    upper_end: float
    is_share: bool

    def x(self, value: float) -> float:
        """Return how far to the right `value` lies."""
        return LEFT + (self.wide - LEFT - RIGHT) * value / (self.right_end or 1)

    def y(self, value: float) -> float:
        """Return how far down `value` lies; what is too high lies at the top."""
        part = min(value, self.upper_end) / (self.upper_end or 1)
        return self.high - BOTTOM - (self.high - TOP - BOTTOM) * part

    def written(self, value: float) -> str:
        """Return a value as it stands at a tick."""
        if not self.is_share:
            return f"{value:,.0f}" if self.upper_end >= TICKS else f"{value:,.2f}"
        return f"{value:.0%}" if self.upper_end >= TICKS / 100 else f"{value:.1%}"

    def horizontals(self, step: float) -> list[Markup]:
        """Return the lines behind the chart, each with its value."""
        count = round(self.upper_end / step)
        drawn = []
        for value in (step * number for number in range(count + 1)):
            y = self.y(value)
            drawn.append(_line(LEFT, y, self.wide - RIGHT, y, "grid"))
            drawn.append(_text(LEFT - 6, y + 4, self.written(value), "tick end"))
        return drawn


def by_day(
    lines: Mapping[str, Sequence[float | None]],
    days: Sequence[date],
    *,
    title: str,
    marks: Collection[int],
    is_share: bool,
    band: Band | None = None,
) -> Markup:
    """Return a chart of figures by day.

    Args:
        lines: By kind, which gives the colour: a value for each day; None where there is none.
        days: The days.
        title: What is drawn, for those who can't see it.
        marks: Places of days that are marked.
        is_share: Whether values are fractions, which are written in percent.
        band: An interval that is drawn behind the lines.
    """
    known = [value for line in lines.values() for value in line if value is not None]
    known += [value for value in (band[1] if band else ()) if value is not None]
    step = _step(max(known, default=0.0))
    upper = step * math.ceil(max(known, default=0.0) / step - 1e-9)
    axes = _Axes(WIDE, HIGH, max(len(days) - 1, 1), upper or step, is_share)
    drawn = axes.horizontals(step)
    drawn += [_line(axes.x(at), TOP, axes.x(at), HIGH - BOTTOM, "mark") for at in sorted(marks)]
    every = max(1, math.ceil(len(days) / DATES))
    drawn += [_date(axes, at, days[at]) for at in range(0, len(days), every)]
    if band:
        drawn += _area(axes, band)
    for kind, line in lines.items():
        drawn += _path(axes, line, kind)
    return _svg(drawn, WIDE, HIGH, title)


def calibration(found: Calibration) -> Markup:
    """Return a chart of what came by what was predicted: told by outcomes (dots), true (squares).

    On the diagonal a prediction is right.
    """
    told = [
        (row.predicted_of_known, row.realised)
        for row in found.bins
        if row.predicted_of_known is not None and row.realised is not None
    ]
    true = [(row.predicted, row.true) for row in found.bins]
    most = max((value for point in told + true for value in point), default=0.0)
    step = _step(most)
    upper = (step * math.ceil(most / step - 1e-9)) or step
    axes = _Axes(SQUARE, SQUARE, upper, upper, is_share=True)
    drawn = axes.horizontals(step)
    for number in range(round(upper / step) + 1):
        at = axes.x(step * number)
        drawn.append(_text(at, SQUARE - BOTTOM + 16, axes.written(step * number), "tick middle"))
    drawn.append(_line(axes.x(0), axes.y(0), axes.x(upper), axes.y(upper), "right"))
    for x, y in true:
        drawn.append(
            Markup('<rect class="true" x="{}" y="{}" width="8" height="8"/>').format(
                _number(axes.x(x) - 4), _number(axes.y(y) - 4)
            )
        )
    drawn += [_dot(axes.x(x), axes.y(y), "told", 4.5) for x, y in told]
    title = f"Chance of {found.question.name}: what came, by what was predicted"
    return _svg(drawn, SQUARE, SQUARE, title)


def interval(
    low: float | None, value: float | None, high: float | None, beside: float | None, of: float
) -> Markup:
    """Return a bar from `low` to `high` with a tick at `value`, and a pale one at `beside`.

    Args:
        low: Lower end of the interval.
        value: The estimate.
        high: Upper end.
        beside: What it is compared with.
        of: End of the scale; what lies beyond it is drawn at its end.
    """

    def bar(left: float, width: float, top: int, kind: str) -> Markup:
        return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
            kind, _number(left), top, _number(width), 10 - 2 * top
        )

    def at(figure: float) -> float:
        return 99 * min(figure, of) / of

    drawn = []
    if low is not None and high is not None:
        drawn.append(bar(at(low), max(at(high) - at(low), 0.5), 3, "range"))
    if beside is not None:
        drawn.append(bar(at(beside), 1, 1, "broadcast"))
    if value is not None:
        drawn.append(bar(at(value), 1, 0, "banyan"))
    return Markup(
        '<svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" '
        'aria-hidden="true" focusable="false">{}</svg>'
    ).format(Markup("").join(drawn))


def _step(most: float) -> float:
    """Return a round distance between ticks, of which about `TICKS` reach up to `most`."""
    if most <= 0:
        return 1.0
    rough = most / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * times for times in (1, 2, 2.5, 5, 10) if unit * times >= rough * (1 - 1e-9))


def _path(axes: _Axes, line: Sequence[float | None], kind: str) -> list[Markup]:
    """Return a line through the values that are known, and dots where the days are few."""
    known = [(at, value) for at, value in enumerate(line) if value is not None]
    points = " ".join(f"{_number(axes.x(at))},{_number(axes.y(value))}" for at, value in known)
    drawn = [Markup('<polyline class="{}" points="{}"/>').format(kind, points)] if known else []
    if len(line) <= DOTS_UP_TO:
        drawn += [_dot(axes.x(at), axes.y(value), kind, 3) for at, value in known]
    return drawn


def _area(axes: _Axes, band: Band) -> list[Markup]:
    ends = [
        (at, low, high)
        for at, (low, high) in enumerate(zip(*band, strict=True))
        if low is not None and high is not None
    ]
    there = [(axes.x(at), axes.y(high)) for at, _, high in ends]
    back = [(axes.x(at), axes.y(low)) for at, low, _ in reversed(ends)]
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in there + back)
    return [Markup('<polygon class="band" points="{}"/>').format(points)] if ends else []


def _date(axes: _Axes, at: int, day: date) -> Markup:
    return _text(axes.x(at), HIGH - 8, f"{day.day} {MONTHS[day.month - 1][:3]}", "tick middle")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        kind, *(_number(value) for value in (x1, y1, x2, y2))
    )


def _dot(x: float, y: float, kind: str, radius: float) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(
        kind, _number(x), _number(y), radius
    )


def _text(x: float, y: float, words: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        kind, _number(x), _number(y), words
    )


def _svg(drawn: list[Markup], wide: int, high: int, title: str) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" focusable="false">'
        "{}</svg>"
    ).format(wide, high, title, Markup("").join(drawn))


def _number(value: float) -> str:
    return f"{value:.2f}"
