"""Turn the checked rows of the lake into the marts that models and matching read, with dbt.

`lake/` → staging → intermediate → features → marts in the warehouse → `marts/date=D/`
"""

from datetime import date
from typing import Any

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.transform.marts import export
from pipelines.transform.warehouse import LAYERS, build

__all__ = ["build_layer", "build_marts", "export", "transform"]


def build_layer(settings: Settings, day: date, layer: str) -> dict[str, int]:
    """Build and test one layer as of `day`; return how many tables and tests there are.

    Raises:
        InputMissing: The leads of `day` were not ingested, or a layer before isn't built.
        IntegrityError: A table or a test failed; nothing is published.
    """
    read_manifest(settings.day_folder(settings.lake / "leads", day))
    return build(settings, day, layer)


def build_marts(settings: Settings, day: date) -> dict[str, Any]:
    """Build the last layer and publish it as `marts/date=D/`; return the counts of both."""
    return build_layer(settings, day, "marts") | export(settings, day)


def transform(settings: Settings, day: date) -> dict[str, Any]:
    """Build every layer in order and publish the marts; return the counts of the marts."""
    for layer in LAYERS[:-1]:
        build_layer(settings, day, layer)
    return build_marts(settings, day)
