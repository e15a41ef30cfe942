"""The step `train`: who scores the day is trained unless it has been, or something has changed."""

from datetime import date
from typing import Any

from models import registry, train
from pipelines.settings import Settings
from pipelines.triggers import fired


def ensure(settings: Settings, day: date) -> dict[str, Any]:
    """Train what scores `day` unless the registry has it; return what scores it.

    That is the set of the week, a set of the day in a young market (`models.train.ensure`), or, in
    between, a set of the day that something caused which does not wait for the next week.

    Raises:
        InputMissing: The marts of `day` are not published.
    """
    said = train.ensure(settings, day)
    if said["as_of"] == f"{day}":
        return said
    if registry.has(settings, day):
        return train.headlines(settings, day)
    because = fired(settings, day)
    return train.train(settings, day, as_of=day, because=because) if because else said
