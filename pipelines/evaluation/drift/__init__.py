"""Whether a day is like the days before it: leads, scores, volumes, approvals, the catalogue.

Everything is computed anew from the published partitions of the day and of a window before it, so
a day that is run again says the same. What counts as drift is `expectations/policy/drift.yml`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.core.statistics import adjust_p_values, round_significant
from pipelines.evaluation.drift.approvals import approval_figures
from pipelines.evaluation.drift.catalogue_drift import catalogue_figures, cost_figures
from pipelines.evaluation.drift.figures import Drift, Figure, State
from pipelines.evaluation.drift.leads import lead_figures, score_figures
from pipelines.evaluation.drift.window import Window, window

__all__ = ["Drift", "Figure", "State", "drift"]


def drift(settings: Settings, day: date) -> Drift:
    """Return all figures of `day` that have a reference, each with its state.

    Raises:
        OSError: A published partition lacks one of its files.
    """
    within = window(settings, settings.marts, day)
    found = list(_figures(settings, day, within)) if day in within.current else []
    return Drift(
        current_days=tuple(f"{some_day}" for some_day in within.current),
        reference_days=tuple(f"{some_day}" for some_day in within.reference),
        least_reference_days=policy.drift().least_reference_days,
        figures=judged(found),
    )


def _figures(settings: Settings, day: date, within: Window) -> Iterator[Figure]:
    with connect(settings) as connection:
        if within.has_reference:
            yield from lead_figures(settings, within)
        yield from score_figures(settings, day, connection)
        yield from approval_figures(settings, day, connection)
        yield from cost_figures(settings, within, connection)
        yield from catalogue_figures(settings, within, connection)


def judged(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """Return `figures` with their states, and p-values adjusted for how many figures there are.

    They are adjusted within a topic: a thousand steady features must not hide one institution.
    """
    sampled = [place for place, figure in enumerate(figures) if figure.p_value is not None]
    found = list(figures)
    for topic in {figures[place].topic for place in sampled}:
        places = [place for place in sampled if figures[place].topic == topic]
        p_values = adjust_p_values(
            np.array([figures[place].p_value for place in places], np.float64)
        )
        for place, p_value in zip(places, p_values, strict=True):
            found[place] = replace(figures[place], p_value=round_significant(float(p_value)))
    return tuple(replace(figure, state=_state(figure)) for figure in found)


def _state(figure: Figure) -> State:
    by_chance = policy.drift().false_discoveries
    p_value = figure.p_value or 0.0  # what is counted in full is not chance
    if figure.distance >= figure.threshold and p_value <= by_chance.drift:
        return "drift"
    if figure.distance >= figure.watch_from and p_value <= by_chance.watch:
        return "watch"
    return "steady"
