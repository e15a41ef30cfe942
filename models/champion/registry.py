"""Where model sets are kept: plain files below `registry/as_of=DAY/`, published whole.

A set is complete in itself. One folder a model holds who serves: `model.txt` is LightGBM's own
text, `model.json` the rest of what a score needs (features, vocabulary, calibration; for a prior
why it stands), `params.yml` what it was made with, `features.json` what each feature means,
`ordinary.json` what its leads were like, `checked.json` how it did on later leads by group and
time, `card.html` all of it for people. A champion that was kept is copied from the set before,
byte for byte. `challenger/` holds who was refused, so that the decision can be examined. The
manifest holds figures, the hash of the data and each decision with its reason; so the manifests
alone tell who was champion when.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from models.cards import card
from models.champion import model_artifacts
from models.features.feature_definitions import describe_features
from models.params import FILE as PARAMS
from models.scoring.estimators import Estimator, Prior, Trained
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, restore, write_json
from pipelines.core.settings import Settings

PREFIX = "as_of="
REFUSED = "challenger"
"""Folder in a set of those who were refused."""


@dataclass(frozen=True)
class Entry:
    """A model with what is to be said of it."""

    estimator: Estimator
    facts: dict[str, Any]
    """Source, rows, dates, figures; JSON-able and without a person's data."""
    stands: Path | None = None
    """Where its files are already; None for one that is new."""


@dataclass(frozen=True)
class Champion:
    """Who served as one of the models before."""

    entry: Entry
    trained_as_of: date
    since: date
    """From which day on it has served."""
    code_version: str | None
    """Of the code that trained it; None where that was longer ago than the last set."""

    @property
    def is_prior(self) -> bool:
        """Return whether a stated prior serves."""
        return isinstance(self.entry.estimator, Prior)


@dataclass(frozen=True)
class Reign:
    """One model's time as champion."""

    model: str
    trained_as_of: date
    source: str
    since: date
    until: date | None
    """Last day that it scored; None: it still does."""
    rows: int
    auc: float | None
    reason: str
    """Why it took the place of who was there before."""


def folder(settings: Settings, as_of: date) -> Path:
    """Return where the model set of `as_of` is, or will be."""
    return settings.registry / f"{PREFIX}{as_of:%Y-%m-%d}"


def has(settings: Settings, as_of: date) -> bool:
    """Return whether the model set of `as_of` is published."""
    restore(folder(settings, as_of))
    return (folder(settings, as_of) / MANIFEST).is_file()


def save(
    settings: Settings,
    as_of: date,
    entries: Mapping[str, Entry],
    *,
    refused: Mapping[str, Entry] | None = None,
    said: Mapping[str, Any] | None = None,
) -> None:
    """Publish the model set of `as_of`: equal models and facts give equal bytes.

    Args:
        settings: Where the home is.
        as_of: The set's name.
        entries: Who serves, by model.
        refused: Challengers that do not.
        said: What the manifest says besides: decisions, what caused the training.
    """
    written = dict(entries) | {f"{REFUSED}/{name}": e for name, e in (refused or {}).items()}
    facts = {name: model_artifacts.stated(entry.facts) for name, entry in written.items()}
    stated: dict[str, Any] = {
        "as_of": f"{as_of}",
        "models": {name: facts[name] for name in entries},
    }
    if refused:
        stated["challengers"] = {name: facts[f"{REFUSED}/{name}"] for name in refused}
    besides = dict(said or {})
    with publishing(folder(settings, as_of), stated | besides) as fresh:
        for name, entry in written.items():
            _write(fresh / name, entry)
        before, decided = _before(settings, as_of), besides.get("decisions")
        card.write_cards(fresh, as_of, facts, before=before, decisions=decided)


def facts(settings: Settings, as_of: date) -> dict[str, dict[str, Any]]:
    """Return what is said of each model that serves in the set: source, rows, dates, figures.

    Raises:
        InputMissing: No such set is published.
    """
    said: dict[str, dict[str, Any]] = read_manifest(folder(settings, as_of))["models"]
    return said


def published(settings: Settings) -> list[date]:
    """Return the names of all published sets, in order."""
    manifests = settings.registry.glob(f"{PREFIX}*/{MANIFEST}")
    return sorted(date.fromisoformat(m.parent.name.removeprefix(PREFIX)) for m in manifests)


def champion(settings: Settings, day: date) -> date:
    """Return the name of the set that scores `day`: the latest on or before it.

    Raises:
        InputMissing: No set was trained as of `day` or before.
    """
    anchors = published(settings)
    begun = [anchor for anchor in anchors if anchor <= day]
    if not begun:
        raise InputMissing(
            f"no model set as of {day} or before is in {settings.registry} ({len(anchors)} later "
            "ones are). Nothing was scored. Train one first: "
            f"`python -m pipelines train --date {day}`, or `run`, which trains when it must."
        )
    return begun[-1]


def champions_before(settings: Settings, as_of: date) -> dict[str, Champion]:
    """Return, by model, who served in the last set before `as_of`; empty where there was none."""
    last = _before(settings, as_of)
    if last is None:
        return {}
    manifest = read_manifest(last)
    return {
        name: _champion(said, _read(last / name, name), last / name, manifest)
        for name, said in manifest["models"].items()
    }


def _champion(
    said: dict[str, Any], estimator: Estimator, stands: Path, manifest: dict[str, Any]
) -> Champion:
    trained_as_of = said.get("trained_as_of", manifest["as_of"])
    return Champion(
        entry=Entry(estimator, said, stands),
        trained_as_of=date.fromisoformat(trained_as_of),
        since=date.fromisoformat(said.get("champion_since", trained_as_of)),
        code_version=manifest["code_version"] if trained_as_of == manifest["as_of"] else None,
    )


def history(settings: Settings) -> list[Reign]:
    """Return who was champion from when to when, by model and in order of time."""
    manifests = [read_manifest(folder(settings, as_of)) for as_of in published(settings)]
    models = sorted({name for manifest in manifests for name in manifest["models"]})
    return [reign for model in models for reign in _reigns(model, manifests)]


def _reigns(model: str, manifests: list[dict[str, Any]]) -> Iterator[Reign]:
    reigns: list[tuple[date, dict[str, Any], dict[str, Any]]] = []
    for manifest in manifests:
        if (said := manifest["models"].get(model)) is None:
            continue
        trained_as_of = said.get("trained_as_of", manifest["as_of"])
        if not reigns or reigns[-1][1]["trained_as_of"] != trained_as_of:
            decided = manifest.get("decisions", {}).get(model, {})
            begins = date.fromisoformat(manifest["as_of"])
            reigns.append((begins, said | {"trained_as_of": trained_as_of}, decided))
    ends = [date.fromordinal(begins.toordinal() - 1) for begins, _, _ in reigns[1:]]
    for (begins, said, decided), until in zip(reigns, [*ends, None], strict=True):
        yield Reign(
            model=model,
            trained_as_of=date.fromisoformat(said["trained_as_of"]),
            source=said["source"],
            since=begins,
            until=until,
            rows=said["rows"],
            auc=said.get("figures", {}).get("auc"),
            reason=decided.get("reason", ""),
        )


def _before(settings: Settings, as_of: date) -> Path | None:
    """Return the folder of the last set before `as_of`; None where it is the first."""
    earlier = [anchor for anchor in published(settings) if anchor < as_of]
    return folder(settings, earlier[-1]) if earlier else None


def read(settings: Settings, as_of: date) -> dict[str, Estimator]:
    """Return the estimators that serve in the model set of `as_of`, by name."""
    stands = folder(settings, as_of)
    return {name: _read(stands / name, name) for name in sorted(facts(settings, as_of))}


def _write(path: Path, entry: Entry) -> None:
    if entry.stands is not None:
        shutil.copytree(entry.stands, path)
        return
    path.mkdir(parents=True)
    estimator = entry.estimator
    if isinstance(estimator, Trained):
        (path / "model.txt").write_text(estimator.trees, "utf-8")
        shutil.copyfile(PARAMS, path / "params.yml")
    write_json(path / "model.json", estimator.as_dict())
    write_json(path / "features.json", describe_features(estimator.features))
    model_artifacts.write(path, entry.facts)


def _read(path: Path, name: str) -> Estimator:
    content = json.loads((path / "model.json").read_text("utf-8"))
    if content["source"] == "prior":
        return Prior(name, content["reason"])
    return Trained.from_dict(content, (path / "model.txt").read_text("utf-8"))
