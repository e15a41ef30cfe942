"""Inline SVG charts for every published page; colours come from the page's style sheet.

Bars are decoration beside a number in a table cell, so they are hidden from screen readers. Plots
have a title, and a table beside them repeats their numbers.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup

WIDTH, HEIGHT, SQUARE = 520, 240, 320
"""Size of a plot by time, and of a calibration plot."""
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 28
"""Padding, in the units of the drawing: about pixels on a wide screen."""
TICKS = 4
LABELS = 6
"""About so many ticks and labels are written along an axis."""
MAX_POINTS_WITH_DOTS = 14
"""A line of at most this many points gets a dot at each."""
STARS_IN_A_ROW, MAX_SPOKES = 6, 24
"""Stars side by side, and spokes of a star."""
MIN_BAR = 0.5
"""Width in percent below which a bar of a positive value is not drawn."""

Band = tuple[Sequence[float | None], Sequence[float | None]]
"""Lower and upper end of an interval at each label."""


@dataclass(frozen=True)
class Point:
    """A point of a plot; `low` and `high` are the ends of its interval, if it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""


def bar(value: float | None, end: float | None, *, kind: str = "plain") -> Markup:
    """Return a bar for `value` on a scale from 0 to `end`; nothing if either is unknown."""
    return offset_bar(0, value, end, kind=kind)


def offset_bar(
    start: float | None, length: float | None, end: float | None, *, kind: str = "plain"
) -> Markup:
    """Return a bar from `start` to `start + length` on a scale from 0 to `end`.

    Args:
        start: Start of the bar, in the unit of `end`.
        length: Length of the bar; a positive one stays visible however short it is.
        end: End of the scale.
        kind: Class of the style sheet that gives the colour.
    """
    if not end or start is None or length is None:
        return Markup("")
    left, width = 100 * start / end, 100 * length / end
    if length > 0:
        width = max(width, MIN_BAR)
        left = min(left, 100 - width)
    return _bars("bar", [_rect(kind, left, width)])


def stacked_bar(parts: Sequence[tuple[str, float]]) -> Markup:
    """Return one bar whose width is divided among the `(kind, value)` parts."""
    total = sum(value for _, value in parts)
    if not total:
        return Markup("")
    rects, left = [], 0.0
    for kind, value in parts:
        rects.append(_rect(kind, left, 100 * value / total))
        left += 100 * value / total
    return _bars("stack", rects)


def density_strip(counts: Sequence[int], threshold: float) -> Markup:
    """Return a strip of slots, darker where more values lie, and a line at a threshold.

    Args:
        counts: Values in each slot, from left to right.
        threshold: Position of the line, a fraction of the width.
    """
    width, highest = 100 / len(counts), max(counts)
    slots = [
        Markup('<rect class="slot" x="{}" y="0" width="{}" height="10" opacity="{}"/>').format(
            _number(slot * width), _number(width), _number(0.25 + 0.75 * (count / highest) ** 0.5)
        )
        for slot, count in enumerate(counts)
        if count
    ]
    return _bars("strip", [*slots, _rect("threshold", 100 * threshold, 0.4)])


def interval_bar(
    low: float | None,
    value: float | None,
    high: float | None,
    reference: float | None,
    end: float,
) -> Markup:
    """Return a bar from `low` to `high` with a tick at `value` and a thinner one at `reference`.

    Args:
        low: Lower end of the interval.
        value: The estimate.
        high: Upper end of the interval.
        reference: Figure that the estimate is compared with.
        end: End of the scale; what is beyond it is drawn at its end.
    """

    def position(figure: float) -> float:
        return 99 * min(figure, end) / (end or 1)

    rects = []
    if low is not None and high is not None:
        width = max(position(high) - position(low), MIN_BAR)
        rects.append(_rect("range", position(low), width, top=3))
    if reference is not None:
        rects.append(_rect("reference", position(reference), 1, top=1))
    if value is not None:
        rects.append(_rect("value", position(value), 1))
    return _bars("interval", rects)


def line_plot(  # noqa: PLR0913 - keyword-only options of one plot
    lines: Mapping[str, Sequence[float | None]],
    labels: Sequence[str],
    *,
    title: str,
    is_share: bool = True,
    from_zero: bool = True,
    marks: Collection[int] = (),
    band: Band | None = None,
    observed: Sequence[Point] = (),
) -> Markup:
    """Return a plot of figures by period.

    Args:
        lines: Kind, which gives the colour -> a value for each label; None leaves a gap.
        labels: The periods, in order.
        title: Text for readers who cannot see the plot.
        is_share: True if values are fractions, which are written in percent.
        from_zero: True if the vertical axis begins at 0; else near the lowest value.
        marks: Positions of labels that get a vertical line.
        band: Interval drawn behind the lines.
        observed: Points with intervals; `x` is the position of the label.
    """
    values = [value for line in lines.values() for value in line]
    values += [value for side in band or () for value in side]
    values += [value for point in observed for value in (point.low, point.y, point.high)]
    axes = _axes(values, len(labels), is_share=is_share, from_zero=from_zero)
    shapes = axes.grid()
    shapes += [
        _line("mark", axes.x(at + 0.5), TOP, axes.x(at + 0.5), HEIGHT - BOTTOM)
        for at in sorted(marks)
    ]
    every = max(1, math.ceil(len(labels) / LABELS))
    for at in range(0, len(labels), every):
        shapes.append(_text("tick middle", axes.x(at + 0.5), HEIGHT - 9, labels[at]))
    if band:
        shapes += _area(axes, band)
    for kind, line in lines.items():
        shapes += _polyline(axes, line, kind)
    shapes += _whiskers(axes, observed, shift=0.5)
    return _plot(shapes, WIDTH, HEIGHT, title)


def calibration_plot(
    observed: Sequence[Point], true: Sequence[Point] = (), *, title: str
) -> Markup:
    """Return observed rates (dots), and true ones (squares), by predicted probability.

    A probability is calibrated where its point lies on the diagonal.
    """
    points = [*observed, *true]
    highest = max((max(point.x, point.y, point.high or 0) for point in points), default=0.0)
    step = tick_step(highest)
    end = (step * math.ceil(highest / step - 1e-9)) or step
    axes = _Axes(SQUARE, SQUARE, end, 0.0, end, step, is_share=True)
    shapes = axes.grid()
    for value in axes.ticks():
        at = axes.x(value)
        shapes.append(_text("tick middle", at, SQUARE - BOTTOM + 16, axes.label(value)))
    shapes.append(_line("diagonal", axes.x(0), axes.y(0), axes.x(end), axes.y(end)))
    for point in true:
        shapes.append(
            Markup('<rect class="true" x="{}" y="{}" width="8" height="8"/>').format(
                _number(axes.x(point.x) - 4), _number(axes.y(point.y) - 4)
            )
        )
    shapes += _whiskers(axes, observed)
    return _plot(shapes, SQUARE, SQUARE, title)


def trade_off_plot(lines: Mapping[str, Sequence[Point]], *, title: str) -> Markup:
    """Return a plot of points of two shares, each kind's joined in order and named by its label.

    Args:
        lines: Kind, which gives the colour -> its points.
        title: Text for readers who cannot see the plot.
    """
    points = [point for line in lines.values() for point in line]
    (left, right, _), (low, high, step) = (
        _round_ends([getattr(point, name) for point in points]) for name in ("x", "y")
    )
    axes = _Axes(WIDTH, HEIGHT, right, low, high, step, is_share=True, x_start=left)
    shapes = axes.grid()
    across = tick_step(right - left)
    for number in range(round((right - left) / across) + 1):
        value = left + across * number
        shapes.append(_text("tick middle", axes.x(value), HEIGHT - 9, f"{value:.0%}"))
    for kind, line in lines.items():
        places = [(axes.x(point.x), axes.y(point.y)) for point in line]
        if len(places) > 1:
            shapes.append(
                Markup('<polyline class="{}" points="{}"/>').format(kind, _points(places))
            )
        shapes += [_dot(kind, x, y, 4) for x, y in places]
        shapes += [
            _text("tick middle", x, y - 8, point.label)
            for point, (x, y) in zip(line, places, strict=True)
            if point.label
        ]
    return _plot(shapes, WIDTH, HEIGHT, title)


class Spoke(Protocol):
    """A group that hangs on one centre, such as a chain of businesses on its buyer."""

    name: str
    leads: int
    lent: float


def star_plot(groups: Sequence[Spoke], *, title: str) -> Markup:
    """Return a star for each group, side by side: its buyer in the middle, its businesses around.

    The area of a star's middle is in proportion to its sum; at most `MAX_SPOKES` businesses are
    drawn, and their number is written below.
    """
    rows = math.ceil(len(groups) / STARS_IN_A_ROW)
    highest = max((group.lent for group in groups), default=0.0) or 1.0
    size, shapes = WIDTH / STARS_IN_A_ROW, list[Markup]()
    for position, group in enumerate(groups):
        x = size * (position % STARS_IN_A_ROW + 0.5)
        y = (size + BOTTOM) * (position // STARS_IN_A_ROW) + size / 2
        drawn = min(group.leads, MAX_SPOKES)
        for spoke in range(drawn):
            angle = 2 * math.pi * spoke / drawn
            end = (x + 0.38 * size * math.sin(angle), y - 0.38 * size * math.cos(angle))
            shapes += [_line("whisker", x, y, *end), _dot("observed", *end, 3)]
        shapes.append(_dot("observed", x, y, round(3 + 13 * (group.lent / highest) ** 0.5, 2)))
        shapes.append(_text("tick middle", x, y + size / 2 + 8, group.name[:8]))
        shapes.append(_text("tick middle", x, y + size / 2 + 20, f"{group.leads:,}"))
    return _plot(shapes, WIDTH, round((size + BOTTOM) * rows), title)


def _round_ends(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the ends of an axis over all values, at round numbers, and the distance of ticks."""
    lowest, highest = min(values, default=0.0), max(values, default=0.0)
    step = tick_step(highest - lowest or 0.1)
    start = step * math.floor(lowest / step + 1e-9)
    return start, max(step * math.ceil(highest / step - 1e-9), start + step), step


def tick_step(span: float) -> float:
    """Return a round distance between ticks, of which about `TICKS` fill `span`."""
    if span <= 0:
        return 1.0
    rough = span / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * times for times in (1, 2, 2.5, 5, 10) if unit * times >= rough * (1 - 1e-9))


@dataclass(frozen=True)
class _Axes:
    """Maps values to coordinates, between `x_start` and `x_end`, and `y_start` and `y_end`."""

    width: int
    height: int
    x_end: float
    y_start: float
    y_end: float
    step: float
    is_share: bool
    x_start: float = 0.0

    def x(self, value: float) -> float:
        fraction = (value - self.x_start) / ((self.x_end - self.x_start) or 1)
        return LEFT + (self.width - LEFT - RIGHT) * fraction

    def y(self, value: float) -> float:
        fraction = (value - self.y_start) / ((self.y_end - self.y_start) or 1)
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * fraction

    def ticks(self) -> list[float]:
        count = round((self.y_end - self.y_start) / self.step)
        return [self.y_start + self.step * number for number in range(count + 1)]

    def label(self, value: float) -> str:
        unit = self.step * 100 if self.is_share else self.step
        is_whole = round(unit, 6) % 1 == 0
        if self.is_share:
            places = 0 if is_whole else 1 + (round(unit * 10, 6) % 1 > 0)
            return f"{value:.{places}%}"
        return f"{value:,.0f}" if is_whole else f"{value:,.2f}"

    def grid(self) -> list[Markup]:
        """Return the horizontal lines behind the plot, each with its value."""
        shapes = []
        for value in self.ticks():
            y = self.y(value)
            shapes.append(_line("grid", LEFT, y, self.width - RIGHT, y))
            shapes.append(_text("tick end", LEFT - 6, y + 4, self.label(value)))
        return shapes


def _axes(values: Sequence[float | None], labels: int, *, is_share: bool, from_zero: bool) -> _Axes:
    known = [value for value in values if value is not None]
    lowest = 0.0 if from_zero else min(known, default=0.0)
    highest = max(known, default=0.0)
    step = tick_step(highest - lowest)
    start = step * math.floor(lowest / step + 1e-9)
    end = step * math.ceil(highest / step - 1e-9)
    return _Axes(WIDTH, HEIGHT, max(labels, 1), start, end if end > start else start + step, step,
                 is_share)  # fmt: skip


def _polyline(axes: _Axes, line: Sequence[float | None], kind: str) -> list[Markup]:
    """Return a line through the known values, with dots where there are few."""
    known = [(axes.x(at + 0.5), axes.y(y)) for at, y in enumerate(line) if y is not None]
    shapes = [Markup('<polyline class="{}" points="{}"/>').format(kind, _points(known))]
    if len(line) <= MAX_POINTS_WITH_DOTS:
        shapes += [_dot(kind, x, y, 3) for x, y in known]
    return shapes if known else []


def _area(axes: _Axes, band: Band) -> list[Markup]:
    ends = [
        (axes.x(at + 0.5), axes.y(low), axes.y(high))
        for at, (low, high) in enumerate(zip(*band, strict=True))
        if low is not None and high is not None
    ]
    outline = [(x, high) for x, _, high in ends] + [(x, low) for x, low, _ in reversed(ends)]
    return [Markup('<polygon class="band" points="{}"/>').format(_points(outline))] if ends else []


def _whiskers(axes: _Axes, points: Sequence[Point], shift: float = 0.0) -> list[Markup]:
    shapes = []
    for point in points:
        x = axes.x(point.x + shift)
        if point.low is not None and point.high is not None:
            shapes.append(_line("whisker", x, axes.y(point.low), x, axes.y(point.high)))
        shapes.append(_dot("observed", x, axes.y(point.y), 4))
    return shapes


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        kind, *(_number(value) for value in (x1, y1, x2, y2))
    )


def _dot(kind: str, x: float, y: float, radius: float) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(
        kind, _number(x), _number(y), radius
    )


def _text(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        kind, _number(x), _number(y), text
    )


def _rect(kind: str, left: float, width: float, top: int = 0) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind, _number(left), top, _number(min(width, 100)), 10 - 2 * top
    )


def _bars(kind: str, rects: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" '
        'focusable="false">{}</svg>'
    ).format(kind, Markup("").join(rects))


def _plot(shapes: Sequence[Markup], width: int, height: int, title: str) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" focusable="false">'
        "{}</svg>"
    ).format(width, height, title, Markup("").join(shapes))


def _number(value: float) -> str:
    return f"{value:.2f}"
