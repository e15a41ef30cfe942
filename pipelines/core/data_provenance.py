"""The provenance of the data that Banyan itself put under `landing/`: imported or simulated.

The report shows it, because invented data must not be mistaken for observed data.
"""

from pathlib import Path
from typing import Any

from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json


def record_provenance(settings: Settings, name: str, facts: dict[str, Any]) -> None:
    """Save `facts` under `name`; repeating an import or a simulation replaces its own entry."""
    write_json(_path(settings), _read(settings) | {name: facts})


def read_provenance(settings: Settings) -> list[dict[str, Any]]:
    """Return the facts of every import and simulation of this home, by name.

    Each has `kind` (import or simulate), `name`, `description`, and `invented`: feed -> column ->
    the rule that made it up.
    """
    return [{"name": name, **facts} for name, facts in sorted(_read(settings).items())]


def _read(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        facts: dict[str, dict[str, Any]] = read_json(_path(settings))
    except FileNotFoundError:
        return {}
    return facts


def _path(settings: Settings) -> Path:
    return settings.ledger / "origins.json"
