"""Small inline SVG charts. Colours come from the page's style sheet, so they follow its theme.

Each is decoration beside a number that stands in text, hence hidden from screen readers.
"""

from collections.abc import Sequence

from markupsafe import Markup

PLACES = 3


def bar(value: float | None, of: float | None, *, kind: str = "plain") -> Markup:
    """Return a bar for `value` on a scale that ends at `of`; nothing where either is missing."""
    return waterfall(0, value, of, kind=kind)


def waterfall(
    start: float | None, width: float | None, of: float | None, *, kind: str = "plain"
) -> Markup:
    """Return a bar that begins at `start` and is `width` long on a scale that ends at `of`.

    Args:
        start: Where the bar begins, same unit as `of`.
        width: Length of the bar; a positive one is never thinner than can be seen.
        of: End of the scale.
        kind: Class of the style sheet that gives the colour.
    """
    if not of or start is None or width is None:
        return Markup("")
    left, long = 100 * start / of, 100 * width / of
    if width > 0:
        long = max(long, 0.5)
        left = min(left, 100 - long)
    return _svg([_rect(left, long, kind)])


def stack(parts: Sequence[tuple[str, float]]) -> Markup:
    """Return one bar of `(kind, value)` parts that share its whole width."""
    whole = sum(value for _, value in parts)
    if not whole:
        return Markup("")
    rects, left = [], 0.0
    for kind, value in parts:
        rects.append(_rect(left, 100 * value / whole, kind))
        left += 100 * value / whole
    return _svg(rects, kind="stack")


def strip(counts: Sequence[int], line: float) -> Markup:
    """Return a strip of marks, the darker the more there are, and a line at a share of its width.

    Args:
        counts: How many lie in each part of the strip, from left to right.
        line: Where the line stands, a fraction of the width.
    """
    width = 100 / len(counts)
    marks = [
        Markup('<rect class="mark" x="{}" y="0" width="{}" height="10" opacity="{}"/>').format(
            _number(place * width),
            _number(width),
            _number(0.25 + 0.75 * (many / max(counts)) ** 0.5),
        )
        for place, many in enumerate(counts)
        if many
    ]
    return _svg([*marks, _rect(100 * line, 0.4, "line")], kind="strip")


def _rect(left: float, width: float, kind: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="0" width="{}" height="10"/>').format(
        kind, _number(left), _number(min(width, 100))
    )


def _svg(rects: list[Markup], *, kind: str = "bar") -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" '
        'focusable="false">{}</svg>'
    ).format(kind, Markup("").join(rects))


def _number(value: float) -> str:
    return f"{value:.{PLACES}f}"
