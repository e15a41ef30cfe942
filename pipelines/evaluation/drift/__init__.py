"""Drift of a day against the days before it: leads, scores, volumes, approvals, the catalogue.

Everything is computed from the published partitions of the day and of a window before it, so a
second run of a day gives the same figures. The thresholds are in `expectations/policy/drift.yml`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.core.statistics import adjust_p_values, round_significant
from pipelines.evaluation.drift.approval_drift import approval_figures
from pipelines.evaluation.drift.catalogue_drift import catalogue_figures, cost_figures
from pipelines.evaluation.drift.comparison import Drift, Figure, State, Window, load_window
from pipelines.evaluation.drift.lead_drift import lead_figures, score_figures

__all__ = ["Drift", "Figure", "State", "assign_states", "measure_drift"]


def measure_drift(settings: Settings, day: date) -> Drift:
    """Return all figures of `day` that have a reference, each with its state.

    Raises:
        OSError: A published partition lacks one of its files.
    """
    window = load_window(settings, settings.marts, day)
    figures = list(_figures(settings, day, window)) if day in window.current else []
    return Drift(
        current_days=tuple(f"{date}" for date in window.current),
        reference_days=tuple(f"{date}" for date in window.reference),
        min_reference_days=policy.drift().min_reference_days,
        figures=assign_states(figures),
    )


def _figures(settings: Settings, day: date, window: Window) -> Iterator[Figure]:
    with connect(settings) as connection:
        if window.has_reference:
            yield from lead_figures(settings, window)
        yield from score_figures(settings, day, connection)
        yield from approval_figures(settings, day, connection)
        yield from cost_figures(settings, window, connection)
        yield from catalogue_figures(settings, window, connection)


def assign_states(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """Return `figures` with their states, and with p-values adjusted for multiple testing.

    They are adjusted within a topic: a thousand steady features must not hide one institution.
    """
    tested = [position for position, row in enumerate(figures) if row.p_value is not None]
    adjusted = list(figures)
    for topic in {figures[position].topic for position in tested}:
        positions = [position for position in tested if figures[position].topic == topic]
        p_values = adjust_p_values(
            np.array([figures[position].p_value for position in positions], np.float64)
        )
        for position, p_value in zip(positions, p_values, strict=True):
            adjusted[position] = replace(
                figures[position], p_value=round_significant(float(p_value))
            )
    return tuple(replace(row, state=_state(row)) for row in adjusted)


def _state(figure: Figure) -> State:
    rates = policy.drift().false_discoveries
    p_value = figure.p_value or 0.0  # a complete count has no sampling error
    if figure.distance >= figure.drift_threshold and p_value <= rates.drift:
        return "drift"
    if figure.distance >= figure.watch_threshold and p_value <= rates.watch:
        return "watch"
    return "steady"
