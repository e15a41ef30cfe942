"""What is kept beside a model in files of its own: too long for the manifest, read by few."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.explanations.reference_profile import Ordinary
from pipelines.core.publishing import write_json

BESIDE = ("ordinary", "checked")
"""Facts of a fit that are kept as `NAME.json` beside the model and not in the manifest."""


def stated(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that the manifest holds."""
    return {name: value for name, value in facts.items() if name not in BESIDE}


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the others into the model's `folder`."""
    for name in BESIDE:
        if name in facts:
            write_json(folder / f"{name}.json", facts[name])


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """Return what is kept as `name` beside the model in `folder`; None where it is not, as of a
    prior or of a set that was trained before it was kept."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def ordinary(folder: Path) -> Ordinary | None:
    """Return what the leads of the model in `folder` were like, as far as it is known."""
    content = read(folder, "ordinary")
    return Ordinary.from_dict(content) if content else None
