"""What the log of trials says of a challenger in the weekly contest of models."""

from dataclasses import replace
from datetime import date, timedelta

from models import model_set as models
from models.model_set import ModelSet
from models.params import params
from models.scoring.estimators import Estimator
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.logged_policy import by_models
from pipelines.evaluation.off_policy.policy_value import worth
from pipelines.matches.exploration_log import TRIALS

MOST_DAYS = 3
"""Days that are scored and planned anew for each challenger; each takes as long as on its day."""


def by_log(
    settings: Settings, model: str, as_of: date, recipe: Estimator, begins: date
) -> tuple[str, str]:
    """Return what is decided of a challenger by its worth on logged days, and the reason.

    Asked are the newest days whose decisions count since `begins`, so that neither the champion nor
    the challenger's recipe has learned from them. It is refused only if it would lose beyond
    chance: a newcomer has the benefit of the doubt.

    Args:
        settings: Where the days are published.
        model: Which of the models it is; the others stay those of the day.
        as_of: Date of the contest; outcomes known before it count.
        recipe: The challenger, fitted on what was known before `begins`.
        begins: Outcomes known from this day on are new to it.
    """
    waits = params().decision_maturity_days
    days = [as_of - timedelta(days=waits + number) for number in range(1, MOST_DAYS + 1)]
    known = begins - timedelta(days=waits)
    days = sorted(day for day in days if day >= known and _is_logged(settings, day))
    if not days:
        return "abstained", "no day with a log of trials is old enough"

    def models_of(day: date) -> ModelSet:
        of_day = models.load(settings, day)
        return replace(of_day, estimators=of_day.estimators | {model: recipe})

    known_by = as_of - timedelta(days=1)
    verdict, _ = worth(settings, days, by_models(models_of), known_by=known_by, of_models=True)
    is_refused = verdict.decision == "refused" and verdict.gain.high >= 0
    return "undecided" if is_refused else verdict.decision, verdict.reason


def _is_logged(settings: Settings, day: date) -> bool:
    matches = settings.day_folder(settings.matches, day)
    roots = (settings.marts, settings.pairs, settings.matches)
    is_published = all((settings.day_folder(root, day) / MANIFEST).is_file() for root in roots)
    return is_published and (matches / TRIALS).is_file()
