"""The step `train`: who scores the day is trained unless it has been, or something has changed."""

from datetime import date
from functools import partial
from typing import Any

from models import train_models
from models.champion import registry
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.challenger_evidence import by_log
from pipelines.training.retrain_triggers import fired


def ensure(settings: Settings, day: date) -> dict[str, Any]:
    """Train what scores `day` unless the registry has it; return what scores it.

    That is the set of the week, a set of the day in a young market (`models.train_models.ensure`), or, in
    between, a set of the day that something caused which does not wait for the next week.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    worth = partial(by_log, settings)
    said = train_models.ensure(settings, day, worth)
    if said["as_of"] == f"{day}":
        return said
    if registry.has(settings, day):
        return train_models.headlines(settings, day)
    because = fired(settings, day)
    if not because:
        return said
    return train_models.train(settings, day, as_of=day, because=because, worth=worth)


def retrain(settings: Settings, day: date) -> dict[str, Any]:
    """Train a challenger for each model, whoever serves; return who does from now on.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    return train_models.train(settings, day, worth=partial(by_log, settings))
