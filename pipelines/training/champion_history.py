"""Who was champion from when to when, as a table for people and as figures for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from models.champion.registry import Reign

HEAD = ("model", "from", "to", "trained as of", "source", "rows", "AUC", "why")


def table(reigns: Sequence[Reign]) -> str:
    """Return the reigns as lines of text, one each, under a head."""
    if not reigns:
        return "No model has been trained yet."
    rows = [HEAD, *(_row(reign) for reign in reigns)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )


def _row(reign: Reign) -> tuple[str, ...]:
    return (
        reign.model,
        f"{reign.since}",
        f"{reign.until or 'now'}",
        f"{reign.trained_as_of}",
        reign.source,
        f"{reign.rows:,}",
        "" if reign.auc is None else f"{reign.auc:.3f}",
        reign.reason,
    )


def figures(reigns: Sequence[Reign]) -> dict[str, Any]:
    """Return the reigns by model, in order of time."""
    models = sorted({reign.model for reign in reigns})
    return {model: [asdict(each) for each in reigns if each.model == model] for model in models}
