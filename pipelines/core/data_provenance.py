"""What Banyan itself put under `landing/`: imported from a foreign file, or simulated.

The report says so, because what was invented must never be taken for what happened.
"""

import json
from pathlib import Path
from typing import Any

from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings


def record(settings: Settings, name: str, facts: dict[str, Any]) -> None:
    """Keep `facts` under `name`; the same import or simulation again replaces its own."""
    write_json(_file(settings), _read(settings) | {name: facts})


def origins(settings: Settings) -> list[dict[str, Any]]:
    """Return the facts of every import and simulation of this home, by name.

    Each has `kind` (import or simulate), `name`, `description`, and `invented`: feed -> column ->
    the rule by which it was made up.
    """
    return [{"name": name, **facts} for name, facts in sorted(_read(settings).items())]


def _read(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        known: dict[str, dict[str, Any]] = json.loads(_file(settings).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return known


def _file(settings: Settings) -> Path:
    return settings.ledger / "origins.json"
