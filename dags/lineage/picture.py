"""The picture of the lineage: datasets by stage, with the way of one column through them.

python -m dags.lineage.picture
"""

import sys
from collections.abc import Sequence

from markupsafe import Markup

from dags.lineage.datasets import Dataset, describe_day
from dags.steps import STEPS
from pipelines.core.settings import PROJECT, Settings

FILE = PROJECT / "docs" / "lineage.svg"
COLUMN = "amount"
"""The column of a lead whose way the picture shows."""

STAGES = (
    ("landing", "landing/"),
    ("lake", "lake/"),
    ("staging", "warehouse/stg_"),
    ("intermediate", "warehouse/int_"),
    ("features", "warehouse/feat_"),
    ("marts", "marts/"),
    ("models, pairs", "registry pairs"),
    ("plan", "matches offers unmatched reasons"),
    ("outbox", "outbox/ delivered"),
)
"""Heading of a column of the picture, and its datasets: names, or beginnings of names."""

WIDTH, ROW, TOP, BOX = 172, 22, 56, 150
"""Pixels: a column, a row, the first row's place, the width of a box."""


def list_datasets(day: dict[str, Dataset]) -> list[list[str]]:
    """Return the names of the datasets of each stage."""
    names = {*day, *(name for each in day.values() for name in each.inputs)}
    return [
        sorted(
            name
            for name in names
            if any(
                name.startswith(each) if each.endswith(("/", "_")) else name == each
                for each in start.split()
            )
        )
        for _, start in STAGES
    ]


def follow_column(day: dict[str, Dataset], dataset: str, column: str) -> set[tuple[str, str]]:
    """Return every dataset and column from which a column comes, itself included."""
    found, open_ = set(), [(dataset, column)]
    while open_:
        place = open_.pop()
        if place not in found:
            found.add(place)
            name, at = place
            open_ += day[name].columns.get(at, ()) if name in day else ()
    return found


def draw_lineage(day: dict[str, Dataset]) -> str:
    """Return the picture as SVG; the way of `COLUMN` to lead files and marts is emphasised."""
    stages = list_datasets(day)
    places = {
        name: (20 + WIDTH * stage, TOP + ROW * row)
        for stage, names in enumerate(stages)
        for row, name in enumerate(names)
    }
    way = follow_column(day, "outbox/leads", COLUMN) | follow_column(day, "marts/leads", COLUMN)
    on_way = {name for name, _ in way}
    made = {(origin, name) for name in day for origin in day[name].inputs}
    carried = {
        (origin, name)
        for name, column in way
        if name in day
        for origin, _ in day[name].columns.get(column, ())
    }
    edges = [
        (pair in carried, *pair)
        for pair in (*sorted(made - carried), *sorted(carried))
        if places.keys() >= {*pair}
    ]
    width, height = 40 + WIDTH * len(stages), TOP + ROW * (max(map(len, stages)) + 2)
    shapes = [
        *(_edge(places[origin], places[name], emphasised=bold) for bold, origin, name in edges),
        *(
            _text(20 + WIDTH * stage, 36, heading, "bold")
            for stage, (heading, _) in enumerate(STAGES)
        ),
        *(_box(*places[name], name, emphasised=name in on_way) for name in sorted(places)),
        _text(
            20,
            height - 14,
            f"Lines: a dataset is made from another. Red: the way of the column {COLUMN} of a lead "
            "from its feed to the lead files and to the marts.",
            "normal",
        ),
    ]
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" '
            'height="{1}" font-family="Helvetica, Arial, sans-serif" role="img" aria-label="{2}">\n'
            '<rect width="{0}" height="{1}" fill="#ffffff"/>\n{3}\n</svg>\n'
        ).format(width, height, "Lineage from feeds to lead files", Markup("\n").join(shapes))
    )


def _edge(start: tuple[int, int], end: tuple[int, int], *, emphasised: bool) -> Markup:
    x1, y1, x2, y2 = start[0] + BOX, start[1] + 8, end[0], end[1] + 8
    bend = max(30, (x2 - x1) // 2)
    return Markup(
        '<path d="M{} {} C{} {} {} {} {} {}" fill="none" stroke="{}" stroke-width="{}"/>'
    ).format(
        *(x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2),
        *(("#b3261e", "2") if emphasised else ("#c9c9c9", "0.6")),
    )


def _box(x: int, y: int, name: str, *, emphasised: bool) -> Markup:
    label = name.partition("/")[2] or name
    return Markup(
        '<rect x="{}" y="{}" width="{}" height="16" rx="3" fill="{}" stroke="{}" '
        'stroke-width="0.8"/>{}'
    ).format(
        *(x, y, BOX, "#f9dedc" if emphasised else "#eef3f8"),
        "#b3261e" if emphasised else "#8a8a8a",
        _text(x + 5, y + 12, label, "normal", size=10),
    )


def _text(x: int, y: int, text: str, weight: str, size: int = 13) -> Markup:
    return Markup(
        '<text x="{}" y="{}" font-size="{}" font-weight="{}" fill="#1c1c1c">{}</text>'
    ).format(x, y, size, weight, text)


def main(steps: Sequence[str] = tuple(STEPS)) -> None:
    """Write the picture of the docs."""
    FILE.write_text(draw_lineage(describe_day(Settings(), steps)), "utf-8")
    sys.stdout.write(f"{FILE}\n")


if __name__ == "__main__":
    main()
