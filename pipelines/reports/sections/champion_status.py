"""Who is champion, since when, and how that was decided: read from the set that scored the day."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

from models.champion import registry
from pipelines.core.formats import words
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.report_data import Finding, ModelSet, Seat

CALENDAR = frozenset({"weekly", "young market"})
"""Triggers that need no cause."""


def seated(settings: Settings, found: ModelSet) -> ModelSet:
    """Return the model set `found` with its seats and what caused its training."""
    if found.as_of is None:
        return found
    manifest = read_manifest(registry.folder(settings, date.fromisoformat(found.as_of)))
    return replace(found, seats=_seats(manifest), **_caused(manifest))


def seat_findings(day: date, found: ModelSet) -> Iterator[Finding]:
    """Yield what happened as of `day` itself: a training that did not wait, who was refused."""
    if found.as_of != f"{day}":
        return
    if found.is_triggered:
        yield Finding("note", "The models were trained before their week was over", found.because)
    for seat in found.seats:
        if seat.is_refusal:
            title = f"The challenger of the {words(seat.model)} model was refused"
            yield Finding("note", title, seat.reason)


def _seats(manifest: dict[str, Any]) -> tuple[Seat, ...]:
    """Return the seat of each model in the set of `manifest`, by name."""
    decisions = manifest.get("decisions", {})
    refused = manifest.get("challengers", {})
    return tuple(
        _seat(name, said, decisions[name], is_refusal=name in refused)
        for name, said in sorted(manifest["models"].items())
        if name in decisions
    )


def _seat(name: str, said: dict[str, Any], decision: dict[str, Any], *, is_refusal: bool) -> Seat:
    is_kept = decision["decision"] == "kept"
    return Seat(
        model=name,
        trained_as_of=said["trained_as_of"],
        champion_since=said["champion_since"],
        decision=decision["decision"],
        reason=decision["reason"],
        is_refusal=is_refusal or (is_kept and said["source"] == "model"),
    )


def _caused(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `ModelSet` that say what caused the training."""
    because = manifest.get("because", {})
    trigger = because.get("trigger", "")
    figures = "; ".join(_in_words(figure) for figure in because.get("figures", []))
    return {
        "because": f"{trigger}: {figures}" if figures else trigger,
        "is_triggered": bool(trigger) and trigger not in CALENDAR,
    }


def _in_words(figure: dict[str, Any]) -> str:
    named = " ".join(filter(None, (figure["model"].replace("_", "-"), figure["what"])))
    return f"{named} {figure['value']:.3g} ({figure['statistic']}, limit {figure['limit']:.3g})"
