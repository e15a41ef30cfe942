"""The scorecard as a person reads it in a terminal."""

from collections.abc import Mapping

from expectations import policy
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.metric_labels import interval, written

BEFORE, NOW = "broadcast", "banyan"


def table(figures: Mapping[str, Figures]) -> str:
    """Return one line for each figure and a column for each policy, intervals beside.

    Numbers stand under numbers and intervals under intervals; no column is wider than it must be.
    """
    names = [name for name in next(iter(figures.values())) if not name.endswith(("_low", "_high"))]
    columns = [[f"money in {policy.base_currency()}", *(name.replace("_", " ") for name in names)]]
    for of_policy, found in figures.items():
        numbers = [written(name, found[name]) for name in names]
        ends = [_ends(found, name) for name in names]
        wide = max(map(len, numbers))
        cells = [
            f"{number:>{wide}} {end}".rstrip() for number, end in zip(numbers, ends, strict=True)
        ]
        columns.append([of_policy, *cells])
    lines = zip(*(_padded(column) for column in columns), strict=True)
    return "\n".join("  ".join(cells).rstrip() for cells in lines)


def headline(figures: Mapping[str, Figures]) -> str:
    """Return what acquisition cost a funded loan before Banyan and with it, in one line.

    Args:
        figures: With those of `broadcast` and `banyan`, by the truth.
    """
    name = "cost_share_of_yield"
    before, now = (written(name, figures[of_policy][name]) for of_policy in (BEFORE, NOW))
    return f"acquisition cost per funded loan: broadcast {before} of yield, Banyan {now}"


def _ends(figures: Figures, name: str) -> str:
    ends = interval(name, figures.get(f"{name}_low"), figures.get(f"{name}_high"))
    return f"({ends})" if ends else ""


def _padded(cells: list[str]) -> list[str]:
    wide = max(map(len, cells))
    return [cell.ljust(wide) for cell in cells]
