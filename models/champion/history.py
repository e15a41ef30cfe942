"""The history of champions, read from the manifests of the registry, as records and as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from models.champion.registry import list_sets, set_folder
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings

HEADER = ("model", "from", "to", "trained as of", "source", "rows", "AUC", "reason")


@dataclass(frozen=True)
class Tenure:
    """One model version's time as champion."""

    model: str
    trained_as_of: date
    source: str
    since: date
    until: date | None
    """The last day that it scored; None: it is active."""
    rows: int
    auc: float | None
    reason: str
    """Why it was promoted."""


def load_tenures(settings: Settings) -> list[Tenure]:
    """Return the tenure of each champion, by model and in order of time."""
    manifests = [read_manifest(set_folder(settings, as_of)) for as_of in list_sets(settings)]
    models = sorted({name for manifest in manifests for name in manifest["models"]})
    return [tenure for model in models for tenure in _tenures(model, manifests)]


def _tenures(model: str, manifests: list[dict[str, Any]]) -> Iterator[Tenure]:
    changes: list[tuple[date, dict[str, Any], dict[str, Any]]] = []
    for manifest in manifests:
        if (metadata := manifest["models"].get(model)) is None:
            continue
        trained_as_of = metadata.get("trained_as_of", manifest["as_of"])
        if not changes or changes[-1][1]["trained_as_of"] != trained_as_of:
            decision = manifest.get("decisions", {}).get(model, {})
            since = date.fromisoformat(manifest["as_of"])
            changes.append((since, metadata | {"trained_as_of": trained_as_of}, decision))
    ends = [since - timedelta(days=1) for since, _, _ in changes[1:]]
    for (since, metadata, decision), until in zip(changes, [*ends, None], strict=True):
        yield Tenure(
            model=model,
            trained_as_of=date.fromisoformat(metadata["trained_as_of"]),
            source=metadata["source"],
            since=since,
            until=until,
            rows=metadata["rows"],
            auc=metadata.get("figures", {}).get("auc"),
            reason=decision.get("reason", ""),
        )


def group_by_model(tenures: Sequence[Tenure]) -> dict[str, Any]:
    """Return the tenures as JSON-able records, by model and in order of time."""
    models = sorted({tenure.model for tenure in tenures})
    return {model: [asdict(one) for one in tenures if one.model == model] for model in models}


def format_table(tenures: Sequence[Tenure]) -> str:
    """Return the tenures as lines of text below a header."""
    if not tenures:
        return "No model has been trained yet."
    rows = [HEADER, *(_row(tenure) for tenure in tenures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )


def _row(tenure: Tenure) -> tuple[str, ...]:
    return (
        tenure.model,
        f"{tenure.since}",
        f"{tenure.until or 'now'}",
        f"{tenure.trained_as_of}",
        tenure.source,
        f"{tenure.rows:,}",
        "" if tenure.auc is None else f"{tenure.auc:.3f}",
        tenure.reason,
    )
