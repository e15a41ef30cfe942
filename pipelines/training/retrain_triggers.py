"""What does not wait for Monday: drift since the champion was trained, calibration out of band.

Read are the marts of the day and what was published before it, so a day that is run again finds the
same. Lines and chance are those of the drift figures (`expectations/policy/drift.yml`), over all
leads together: what befalls one channel is told in the report and needs no other model.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from models.champion import registry
from models.champion.evaluation import THREADS, out_of_band, outcomes
from models.champion.evaluation_window import newly_known
from models.champion.registry import Champion
from models.params import params
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.evaluation.drift import judged
from pipelines.evaluation.drift.figures import Figure
from pipelines.evaluation.drift.leads import lead_figures, score_figures
from pipelines.evaluation.drift.window import Window, window

WATCHED = frozenset({"leads", "scores"})
"""Topics of drift that cause a training; more leads than usual are no other leads."""


def fired(settings: Settings, day: date) -> dict[str, Any] | None:
    """Return what causes a training as of `day`, with its figures; None: nothing does.

    Nothing does within `rest_days` of the last set: what it changed must be seen at work first.

    Raises:
        InputMissing: The marts of `day`, or a model set, are not published.
    """
    since = registry.champion(settings, day)
    if day - since < timedelta(days=params().triggers.rest_days):
        return None
    drifted = [_told(figure) for figure in _drift(settings, day, since) if _counts(figure)]
    off = list(_off(settings, day))
    causes = [name for name, found in (("drift", drifted), ("calibration", off)) if found]
    if not causes:
        return None
    return {"trigger": " and ".join(causes), "figures": [*drifted, *off]}


def _counts(figure: Figure) -> bool:
    return figure.state == "drift" and figure.topic in WATCHED


def _drift(settings: Settings, day: date, since: date) -> tuple[Figure, ...]:
    """Return how leads differ from those before `since`, and scores from the first after it."""
    current = window(settings, settings.marts, day).current
    reference = window(settings, settings.marts, since - timedelta(days=1)).days
    within = Window(reference, tuple(some_day for some_day in current if some_day >= since))
    figures: list[Figure] = []
    if within.has_reference:
        figures += lead_figures(settings, within, ("all",))
    with connect(settings) as connection:
        figures += score_figures(settings, day - timedelta(days=1), connection, ("all",))
    return judged(figures)


def _told(figure: Figure) -> dict[str, Any]:
    return {
        "model": "",
        "what": f"{figure.topic}: {figure.what}",
        "statistic": "psi",
        "value": figure.value,
        "limit": figure.threshold,
        "rows": figure.rows,
    }


def _off(settings: Settings, day: date) -> Iterator[dict[str, Any]]:
    """Yield each champion whose probabilities outcomes since then prove wrong."""
    for model, champion in registry.champions_before(settings, day).items():
        if not champion.is_prior:
            yield from _off_by(settings, day, model, champion)


def _off_by(
    settings: Settings, day: date, model: str, champion: Champion
) -> Iterator[dict[str, Any]]:
    on = newly_known(settings, day, model, champion, as_of=day)
    if on.too_few:
        return
    rows = outcomes(model, on)
    predicted = champion.entry.estimator.predict(on.compared, threads=THREADS)
    foretold = rows.exposure.chance(predicted)
    if out_of_band(foretold, rows, params().triggers.standard_deviations):
        yield {
            "model": model,
            "what": "predicted over observed",
            "statistic": "ratio",
            "value": round(float(foretold.mean() / max(rows.happened.mean(), 1e-9)), 4),
            "limit": params().challenge.calibration_band,
            "rows": on.compared.num_rows,
        }
