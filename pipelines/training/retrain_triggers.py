"""The triggers of a training between two Mondays: drift since the champion, or miscalibration.

They read the marts of the day and files published before it, so that a replayed day gives the same
result. The limits and the null distribution are taken from the drift report
(`expectations/policy/drift.yml`), over all leads together: drift of one channel is reported, but it
needs no new model.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from models.champion import registry
from models.champion.evaluation_window import (
    THREADS,
    is_miscalibrated,
    load_evaluation_window,
    to_outcomes,
)
from models.champion.registry import Champion
from models.params import params
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.evaluation.drift import assign_states
from pipelines.evaluation.drift.comparison import Figure, Window, load_window
from pipelines.evaluation.drift.lead_drift import lead_figures, score_figures

WATCHED = frozenset({"leads", "scores"})
"""Drift topics that trigger a training; volume is none of them, since it does not change a lead."""


def find_trigger(settings: Settings, day: date) -> dict[str, Any] | None:
    """Return the trigger of a training as of `day`, with its figures; None if there is none.

    There is none within `cooldown_days` of the last set, whose effect must be observed first.

    Raises:
        InputMissing: The marts of `day`, or a model set, are not published.
    """
    since = registry.find_active_set(settings, day)
    if day - since < timedelta(days=params().triggers.cooldown_days):
        return None
    drifted = [
        _to_record(figure)
        for figure in _measure_drift(settings, day, since)
        if figure.state == "drift" and figure.topic in WATCHED
    ]
    miscalibrated = list(_find_miscalibrated(settings, day))
    causes = {"drift": drifted, "calibration": miscalibrated}
    names = [name for name, figures in causes.items() if figures]
    if not names:
        return None
    return {"trigger": " and ".join(names), "figures": [*drifted, *miscalibrated]}


def _measure_drift(settings: Settings, day: date, since: date) -> tuple[Figure, ...]:
    """Return the drift of leads since before `since`, and of scores since the first after it."""
    current = load_window(settings, settings.marts, day).current
    reference = load_window(settings, settings.marts, since - timedelta(days=1)).days
    compared = Window(reference, tuple(one for one in current if one >= since))
    figures: list[Figure] = []
    if compared.has_reference:
        figures += lead_figures(settings, compared, ("all",))
    with connect(settings) as connection:
        figures += score_figures(settings, day - timedelta(days=1), connection, ("all",))
    return assign_states(figures)


def _to_record(figure: Figure) -> dict[str, Any]:
    return {
        "model": "",
        "what": f"{figure.topic}: {figure.measure}",
        "statistic": "psi",
        "value": figure.value,
        "limit": figure.drift_threshold,
        "rows": figure.rows,
    }


def _find_miscalibrated(settings: Settings, day: date) -> Iterator[dict[str, Any]]:
    """Yield a record of each champion that is miscalibrated on outcomes since its training."""
    for model, champion in registry.load_champions(settings, day).items():
        if not champion.is_prior:
            yield from _check_calibration(settings, day, model, champion)


def _check_calibration(
    settings: Settings, day: date, model: str, champion: Champion
) -> Iterator[dict[str, Any]]:
    on = load_evaluation_window(settings, day, model, champion, as_of=day)
    if on.shortage:
        return
    outcomes = to_outcomes(model, on)
    predicted = champion.version.estimator.predict(on.rows, threads=THREADS)
    expected = outcomes.exposure.window_probability(predicted)
    if is_miscalibrated(expected, outcomes, params().triggers.standard_deviations):
        yield {
            "model": model,
            "what": "predicted over observed",
            "statistic": "ratio",
            "value": round(float(expected.mean() / max(outcomes.labels.mean(), 1e-9)), 4),
            "limit": params().challenge.calibration_band,
            "rows": on.rows.num_rows,
        }
