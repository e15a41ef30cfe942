"""Where model sets are kept: plain files below `registry/as_of=DAY/`, published whole.

One folder a model: `model.txt` is LightGBM's own text, `model.json` the rest of what a score needs
(features, vocabulary, calibration; for a prior why it stands), `ordinary.json` what its leads were
like, `checked.json` how it did on later leads by group and time, `card.html` all of it for people.
`params.yml` is what they were made with. The manifest holds the figures and the hash of the data.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from models import card, details
from models.estimators import Estimator, Prior, Trained
from models.params import FILE as PARAMS
from pipelines.errors import InputMissing
from pipelines.publish import MANIFEST, publishing, read_manifest, restore, write_json
from pipelines.settings import Settings

PREFIX = "as_of="


@dataclass(frozen=True)
class Entry:
    """A model with what is to be said of it."""

    estimator: Estimator
    facts: dict[str, Any]
    """Source, rows, dates, figures; JSON-able and without a person's data."""


def folder(settings: Settings, as_of: date) -> Path:
    """Return where the model set of `as_of` is, or will be."""
    return settings.registry / f"{PREFIX}{as_of:%Y-%m-%d}"


def has(settings: Settings, as_of: date) -> bool:
    """Return whether the model set of `as_of` is published."""
    restore(folder(settings, as_of))
    return (folder(settings, as_of) / MANIFEST).is_file()


def save(settings: Settings, as_of: date, entries: Mapping[str, Entry]) -> None:
    """Publish the model set of `as_of`: equal models and facts give equal bytes."""
    said = {name: details.stated(entry.facts) for name, entry in entries.items()}
    stated = {"as_of": f"{as_of}", "models": said}
    with publishing(folder(settings, as_of), stated) as fresh:
        shutil.copyfile(PARAMS, fresh / "params.yml")
        for name, entry in entries.items():
            _write(fresh / name, entry.estimator)
            details.write(fresh / name, entry.facts)
        card.write_cards(fresh, as_of, said, before=_before(settings, as_of))


def facts(settings: Settings, as_of: date) -> dict[str, dict[str, Any]]:
    """Return what is said of each model of the set: source, rows, dates, figures.

    Raises:
        InputMissing: No such set is published.
    """
    said: dict[str, dict[str, Any]] = read_manifest(folder(settings, as_of))["models"]
    return said


def champion(settings: Settings, day: date) -> date:
    """Return the anchor of the set that scores `day`: the latest on or before it.

    Raises:
        InputMissing: No set was trained as of `day` or before.
    """
    published = settings.registry.glob(f"{PREFIX}*/{MANIFEST}")
    anchors = [date.fromisoformat(path.parent.name.removeprefix(PREFIX)) for path in published]
    begun = [anchor for anchor in anchors if anchor <= day]
    if not begun:
        raise InputMissing(
            f"no model set as of {day} or before is in {settings.registry} ({len(anchors)} later "
            "ones are). Nothing was scored. Train one first: "
            f"`python -m pipelines train --date {day}`, or `run`, which trains when it must."
        )
    return max(begun)


def _before(settings: Settings, as_of: date) -> Path | None:
    """Return the folder of the last set before `as_of`; None where it is the first."""
    earlier = sorted(path.parent for path in settings.registry.glob(f"{PREFIX}*/{MANIFEST}"))
    earlier = [path for path in earlier if path.name < folder(settings, as_of).name]
    return earlier[-1] if earlier else None


def read(settings: Settings, as_of: date) -> dict[str, Estimator]:
    """Return the estimators of the model set of `as_of`, by name."""
    stands = folder(settings, as_of)
    return {name: _read(stands / name, name) for name in sorted(facts(settings, as_of))}


def _write(path: Path, estimator: Estimator) -> None:
    path.mkdir()
    if isinstance(estimator, Trained):
        (path / "model.txt").write_text(estimator.trees, "utf-8")
    write_json(path / "model.json", estimator.as_dict())


def _read(path: Path, name: str) -> Estimator:
    content = json.loads((path / "model.json").read_text("utf-8"))
    if content["source"] == "prior":
        return Prior(name, content["reason"])
    return Trained.from_dict(content, (path / "model.txt").read_text("utf-8"))
