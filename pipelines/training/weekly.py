"""The steps `train` and `retrain`: train the model set that scores the day, if it is missing."""

from datetime import date
from functools import partial
from typing import Any

from models import train_models
from models.champion import registry
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.policy_value import evaluate_model_on_log
from pipelines.training.retrain_triggers import find_trigger


def ensure(settings: Settings, day: date) -> dict[str, Any]:
    """Train the set that scores `day` unless the registry has it; return a summary of the set.

    It is the set of the week, a set of the day in a young market (`train_models.ensure_model_set`),
    or a set of the day that drift or miscalibration triggered between two Mondays.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    off_policy_tests = partial(evaluate_model_on_log, settings)
    summary = train_models.ensure_model_set(settings, day, off_policy_tests)
    if summary["as_of"] == f"{day}":
        return summary
    if registry.is_published(settings, day):
        return train_models.summarize(settings, day)
    trigger = find_trigger(settings, day)
    if not trigger:
        return summary
    return train_models.train(
        settings, day, as_of=day, trigger=trigger, off_policy_tests=off_policy_tests
    )


def retrain(settings: Settings, day: date) -> dict[str, Any]:
    """Train a challenger for each model even if the week has a set; return a summary of the set.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    return train_models.train(
        settings, day, off_policy_tests=partial(evaluate_model_on_log, settings)
    )
