"""The model registry: plain files below `registry/as_of=DAY/`, one complete model set per folder.

Each model has one folder that holds its active version: `model.txt` (LightGBM's own text),
`model.json` (the rest that scoring needs: features, vocabulary, calibration; for a stated prior the
reason), `params.yml` (the parameters of the training), `features.json` (the meaning of each
feature), `reference_profile.json` (medians and modes of its leads), `validation.json` (performance
on later leads by group and time) and `card.html` (the model card). A retained champion is copied
from the previous set, byte for byte. `challenger/` holds the rejected challengers, for examination.
The manifest holds figures, the hash of the data and each decision with its reason, so the manifests
alone give the history of champions (`history.py`).
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from models.cards import card
from models.explanations.reference_profile import ReferenceProfile
from models.features.feature_definitions import describe_features
from models.params import params_text
from models.scoring.estimators import Estimator, Prior, TrainedModel
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import (
    MANIFEST,
    publishing,
    read_manifest,
    require_unchanged,
    restore,
    write_json,
)
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json

PREFIX = "as_of="
REJECTED = "challenger"
"""Folder of the rejected challengers in a set."""
ARTIFACTS = ("reference_profile", "validation")
"""Metadata of a fit that is too long for the manifest: stored as `NAME.json` beside the model."""


@dataclass(frozen=True)
class ModelVersion:
    """One trained model, or stated prior, with its metadata."""

    estimator: Estimator
    metadata: dict[str, Any]
    """Source, rows, dates, figures; JSON-able and without personal data."""
    folder: Path | None = None
    """Where its files are already published; None for a new one."""


@dataclass(frozen=True)
class Champion:
    """The active version of one model."""

    version: ModelVersion
    trained_as_of: date
    active_since: date
    code_version: str | None
    """Version of the code that trained it; None if it was trained before the last set."""

    @property
    def is_prior(self) -> bool:
        """Return whether the active version is a stated prior."""
        return isinstance(self.version.estimator, Prior)


def set_folder(settings: Settings, as_of: date) -> Path:
    """Return the folder of the model set of `as_of`."""
    return settings.registry / f"{PREFIX}{as_of:%Y-%m-%d}"


def is_published(settings: Settings, as_of: date) -> bool:
    """Return whether the model set of `as_of` is published."""
    restore(set_folder(settings, as_of))
    return (set_folder(settings, as_of) / MANIFEST).is_file()


def list_sets(settings: Settings) -> list[date]:
    """Return the dates of all published sets, in order."""
    manifests = settings.registry.glob(f"{PREFIX}*/{MANIFEST}")
    return sorted(date.fromisoformat(m.parent.name.removeprefix(PREFIX)) for m in manifests)


def find_active_set(settings: Settings, day: date) -> date:
    """Return the date of the set that scores `day`: the latest on or before it.

    Raises:
        InputMissing: No set was trained as of `day` or before.
    """
    published = list_sets(settings)
    earlier = [as_of for as_of in published if as_of <= day]
    if not earlier:
        raise InputMissing(
            f"no model set as of {day} or before is in {settings.registry} ({len(published)} "
            "later ones are). Nothing was scored. Train one first: "
            f"`python -m pipelines train --date {day}`, or `run`, which trains if necessary."
        )
    return earlier[-1]


def save_set(
    settings: Settings,
    as_of: date,
    active: Mapping[str, ModelVersion],
    *,
    rejected: Mapping[str, ModelVersion] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """Publish the model set of `as_of`: equal models and metadata give equal bytes.

    Args:
        settings: Settings of the home.
        as_of: The date of the set.
        active: The active version of each model.
        rejected: Rejected challengers.
        manifest: Further entries of the manifest: decisions, the trigger of the training.
    """
    versions = dict(active) | {f"{REJECTED}/{name}": v for name, v in (rejected or {}).items()}
    metadata = {
        name: {key: value for key, value in version.metadata.items() if key not in ARTIFACTS}
        for name, version in versions.items()
    }
    entries: dict[str, Any] = {
        "as_of": f"{as_of}",
        "models": {name: metadata[name] for name in active},
    }
    if rejected:
        entries["challengers"] = {name: metadata[f"{REJECTED}/{name}"] for name in rejected}
    entries |= manifest or {}
    with publishing(set_folder(settings, as_of), entries) as folder:
        for name, version in versions.items():
            _write_version(folder / name, version)
        previous = _previous_folder(settings, as_of)
        decisions = entries.get("decisions")
        card.write_cards(folder, as_of, metadata, previous=previous, decisions=decisions)


def load_metadata(settings: Settings, as_of: date) -> dict[str, dict[str, Any]]:
    """Return the metadata of each active version in a set: source, rows, dates, figures.

    Raises:
        InputMissing: No such set is published.
    """
    models: dict[str, dict[str, Any]] = read_manifest(set_folder(settings, as_of))["models"]
    return models


def load_estimators(settings: Settings, as_of: date) -> dict[str, Estimator]:
    """Return the active estimators of the model set of `as_of`, by model.

    Raises:
        IntegrityError: A file of an active version is not the one that was published.
    """
    folder = set_folder(settings, as_of)
    return {name: _load_estimator(folder / name) for name in sorted(load_metadata(settings, as_of))}


def load_reference_profile(folder: Path) -> ReferenceProfile | None:
    """Return the reference profile of the model in `folder`; None if it has none, as a prior."""
    path = folder / "reference_profile.json"
    if not path.is_file():
        return None
    return ReferenceProfile.from_dict(read_json(path))


def load_champions(settings: Settings, as_of: date) -> dict[str, Champion]:
    """Return the champion of each model in the last set before `as_of`; empty if there is none."""
    folder = _previous_folder(settings, as_of)
    if folder is None:
        return {}
    manifest = read_manifest(folder)
    return {
        name: _to_champion(metadata, folder / name, manifest)
        for name, metadata in manifest["models"].items()
    }


def _to_champion(metadata: dict[str, Any], folder: Path, manifest: dict[str, Any]) -> Champion:
    trained_as_of = metadata.get("trained_as_of", manifest["as_of"])
    return Champion(
        version=ModelVersion(_load_estimator(folder), metadata, folder),
        trained_as_of=date.fromisoformat(trained_as_of),
        active_since=date.fromisoformat(metadata.get("champion_since", trained_as_of)),
        code_version=manifest["code_version"] if trained_as_of == manifest["as_of"] else None,
    )


def _previous_folder(settings: Settings, as_of: date) -> Path | None:
    """Return the folder of the last set before `as_of`; None for the first."""
    earlier = [other for other in list_sets(settings) if other < as_of]
    return set_folder(settings, earlier[-1]) if earlier else None


def _write_version(path: Path, version: ModelVersion) -> None:
    if version.folder is not None:
        shutil.copytree(version.folder, path)
        return
    path.mkdir(parents=True)
    estimator = version.estimator
    if isinstance(estimator, TrainedModel):
        (path / "model.txt").write_text(estimator.trees, "utf-8")
        (path / "params.yml").write_text(params_text(), "utf-8")
    write_json(path / "model.json", estimator.as_dict())
    write_json(path / "features.json", describe_features(estimator.features))
    for name in ARTIFACTS:
        if name in version.metadata:
            write_json(path / f"{name}.json", version.metadata[name])


def _load_estimator(folder: Path) -> Estimator:
    """Return the estimator in the folder of a version, once all its files are verified."""
    require_unchanged(folder.parent, f"{folder.name}/")
    content = read_json(folder / "model.json")
    if content["source"] == "prior":
        return Prior(folder.name, content["reason"])
    return TrainedModel.from_dict(content, (folder / "model.txt").read_text("utf-8"))
