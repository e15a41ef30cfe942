"""The charts of a model card as inline SVG; colours come from its style sheet.

Every number that a chart shows also stands in a table beside it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

WIDE, HIGH, SQUARE = 520, 250, 320
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 30
"""Margins, in the units of the drawing: about pixels on a wide screen."""
TICKS = 4
DATES = 6

Part = Mapping[str, Any]
"""`name`, `predicted`, `observed`, `low` and `high` of some rows, as in `stability.checked`."""


class _Axes:
    """Where a value lies in a drawing: across from 0 to `right`, up from `lower` to `upper`."""

    def __init__(self, wide: int, high: int, right: float, ends: tuple[float, float], step: float):
        self.wide, self.high, self.right = wide, high, right
        self.lower, self.upper = ends
        self.step = step

    def x(self, value: float) -> float:
        return LEFT + (self.wide - LEFT - RIGHT) * value / (self.right or 1)

    def y(self, value: float) -> float:
        part = (value - self.lower) / ((self.upper - self.lower) or 1)
        return self.high - BOTTOM - (self.high - TOP - BOTTOM) * part

    def ticks(self) -> list[float]:
        count = round((self.upper - self.lower) / self.step)
        return [self.lower + self.step * number for number in range(count + 1)]

    def horizontals(self) -> list[Markup]:
        drawn = []
        for value in self.ticks():
            at = self.y(value)
            drawn.append(_line(LEFT, at, self.wide - RIGHT, at, "grid"))
            drawn.append(_text(LEFT - 6, at + 4, _share(value, self.step), "end"))
        return drawn


def calibration(bins: Sequence[Part]) -> Markup:
    """Return what happened, with its interval, by what was said; on the diagonal it is right."""
    most = max((max(part["predicted"], part["high"]) for part in bins), default=0.0)
    step = _step(most)
    upper = step * math.ceil(most / step - 1e-9)
    axes = _Axes(SQUARE, SQUARE, upper, (0.0, upper), step)
    drawn = axes.horizontals()
    for value in axes.ticks():
        drawn.append(_text(axes.x(value), SQUARE - BOTTOM + 16, _share(value, step), "middle"))
    drawn.append(_line(axes.x(0), axes.y(0), axes.x(upper), axes.y(upper), "right"))
    for part in bins:
        at = axes.x(part["predicted"])
        drawn.append(_line(at, axes.y(part["low"]), at, axes.y(part["high"]), "whisker"))
        drawn.append(_dot(at, axes.y(part["observed"]), "observed"))
    return _svg(drawn, SQUARE, SQUARE, "What happened, by what was predicted")


def over_time(parts: Sequence[Part]) -> Markup:
    """Return what was said (line) and what happened (dots with intervals), period by period."""
    values = [part[name] for part in parts for name in ("predicted", "low", "high")]
    step = _step(max(values) - min(values))
    ends = step * math.floor(min(values) / step + 1e-9), step * math.ceil(max(values) / step - 1e-9)
    axes = _Axes(WIDE, HIGH, max(len(parts) - 1, 1) + 1, ends, step)
    drawn = axes.horizontals()
    every = max(1, math.ceil(len(parts) / DATES))
    places = [(axes.x(at + 0.5), part) for at, part in enumerate(parts)]
    for at, part in places[::every]:
        drawn.append(_text(at, HIGH - BOTTOM + 18, part["name"], "middle"))
    points = " ".join(f"{x:.2f},{axes.y(part['predicted']):.2f}" for x, part in places)
    drawn.append(Markup('<polyline class="predicted" points="{}"/>').format(points))
    for at, part in places:
        drawn.append(_line(at, axes.y(part["low"]), at, axes.y(part["high"]), "whisker"))
        drawn.append(_dot(at, axes.y(part["observed"]), "observed"))
    return _svg(drawn, WIDE, HIGH, "What was predicted and what happened, over time")


def interval(part: Part, of: float) -> Markup:
    """Return a bar for the interval of what happened, a mark at it, and one at what was said."""

    def bar(left: float, width: float, kind: str) -> Markup:
        return Markup('<rect class="{}" x="{:.2f}" y="{}" width="{:.2f}" height="{}"/>').format(
            kind, 99 * left / of, 0 if kind == "said" else 3, max(99 * width / of, 0.6),
            10 if kind == "said" else 4,
        )  # fmt: skip

    drawn = [
        bar(part["low"], part["high"] - part["low"], "range"),
        bar(part["observed"], 0, "observed"),
        bar(part["predicted"], 0, "said"),
    ]
    return Markup(
        '<svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" '
        'aria-hidden="true" focusable="false">{}</svg>'
    ).format(Markup("").join(drawn))


def bar(value: float, of: float) -> Markup:
    """Return a bar for `value` on a scale that ends at `of`."""
    return Markup(
        '<svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" '
        'focusable="false"><rect class="plain" x="0" y="1" width="{:.2f}" height="8"/></svg>'
    ).format(100 * value / (of or 1))


def _step(span: float) -> float:
    """Return a round distance between ticks, of which about `TICKS` fill `span`."""
    if span <= 0:
        return 0.1
    rough = span / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * times for times in (1, 2, 2.5, 5, 10) if unit * times >= rough * (1 - 1e-9))


def _share(value: float, step: float) -> str:
    return f"{value:.0%}" if step >= 0.01 and round(step * 100, 6) % 1 == 0 else f"{value:.1%}"  # noqa: PLR2004  a percent


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}"/>').format(
        kind, x1, y1, x2, y2
    )


def _dot(x: float, y: float, kind: str) -> Markup:
    return Markup('<circle class="{}" cx="{:.2f}" cy="{:.2f}" r="4"/>').format(kind, x, y)


def _text(x: float, y: float, words: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.2f}" y="{:.2f}">{}</text>').format(kind, x, y, words)


def _svg(drawn: list[Markup], wide: int, high: int, title: str) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" focusable="false">'
        "{}</svg>"
    ).format(wide, high, title, Markup("").join(drawn))
