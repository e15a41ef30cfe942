"""Model cards: one self-contained page per model version, with its purpose, data and performance.

A card is written when a version is trained and published beside it, so equal versions have equal
cards. The text that does not depend on the training is in `card.yml`.
"""

from collections.abc import Mapping
from datetime import date
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import yaml
from markupsafe import Markup

from expectations import policy
from expectations.contracts import load
from expectations.strict_model import StrictModel
from models.features.feature_definitions import describe_features
from models.params import Label, params
from models.validation.backtest import MIN_PART_ROWS
from pipelines.core.formats import NOTHING
from pipelines.core.rendering import svg
from pipelines.core.rendering.html import environment
from pipelines.core.statistics import Z_95, sigmoid
from pipelines.core.stored_files import read_json

TEMPLATES = Path(__file__).parent / "templates"
TEXT = Path(__file__).parent / "card.yml"
NAME = "card.html"

FIGURES = (
    ("auc", "AUC", "discrimination: 1 is a perfect order, 0.5 a random one"),
    ("ks", "KS", "largest distance between the score distributions of the two outcomes"),
    ("brier", "Brier score", "mean squared error of the probability; lower is better"),
    ("ece", "ECE", "mean distance between predicted and observed rates; lower is better"),
    ("base_rate", "Base rate", "share of rows with the outcome"),
)
"""Figures of the card: key, name, meaning."""

CHANGES = (
    ("source", "Source"),
    ("rows", "Labelled rows"),
    ("first_lead_on", "First lead"),
    ("last_lead_on", "Last lead"),
    ("trees", "Trees"),
    ("data_sha256", "Data"),
)
"""Metadata that is compared with the previous version: key, name."""


class Purpose(StrictModel):
    """The purpose of one model, and its limitations."""

    predicts: str
    used: str
    limits: tuple[str, ...]


class CardText(StrictModel):
    """The content of `card.yml`."""

    models: dict[str, Purpose]
    labels: dict[Label, str]
    limits: tuple[str, ...]


@cache
def load_text() -> CardText:
    """Return the content of `card.yml`."""
    return CardText.model_validate(yaml.safe_load(TEXT.read_text("utf-8")))


def write_cards(
    set_folder: Path,
    as_of: date,
    metadata: Mapping[str, Mapping[str, Any]],
    *,
    previous: Path | None = None,
    decisions: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the card of each model in `set_folder` that has none; a retained champion has one.

    Args:
        set_folder: The set before it is published, with its models written.
        as_of: The date of the set.
        metadata: The metadata of each model.
        previous: The published set before it; None for the first.
        decisions: The champion-challenger decision on each model.
    """
    for name, of_model in metadata.items():
        folder = set_folder / name
        if not (folder / NAME).exists():
            decision = (decisions or {}).get(folder.name, {})
            previous_version = _load_previous(previous, folder.name)
            page = render(folder, as_of, of_model, previous=previous_version, decision=decision)
            (folder / NAME).write_text(page, "utf-8")


def render(
    folder: Path,
    as_of: date,
    metadata: Mapping[str, Any],
    *,
    previous: Mapping[str, Any],
    decision: Mapping[str, Any],
) -> str:
    """Return the card of the model in `folder` as HTML.

    Args:
        folder: The folder of the model version, named after the model.
        as_of: The date of the set.
        metadata: The metadata of the version.
        previous: `as_of`, `metadata` and `features` of the previous version; empty if none.
        decision: The champion-challenger decision; empty if none.
    """
    model = folder.name
    content = read_json(folder / "model.json")
    validation = _load_validation(folder)
    features = _describe_features(folder, content)
    label = params().models[model].label if model in params().models else None
    return environment(TEMPLATES).get_template(NAME).render(
        model=model,
        as_of=as_of,
        metadata=metadata,
        is_prior=content["source"] == "prior",
        prior_source=policy.priors().source,
        purpose=_purpose(model),
        label=load_text().labels[label] if label else "",
        figures=_list_figures(metadata, validation, previous),
        validation=validation,
        features=features,
        largest_gain=max((row["gain"] for row in features), default=0.0),
        limits=list_limits(model, metadata, validation),
        previous=previous,
        changes=_list_changes(metadata, [row["name"] for row in features], previous),
        decision=decision,
        protected=sorted(policy.protected()),
        parameters=params().boosting,
        calibration_plot=_plot_calibration(validation) if validation else None,
        time_plot=_plot_periods(validation) if validation and validation["time"] else None,
    )  # fmt: skip


def list_limits(
    model: str, metadata: Mapping[str, Any], validation: Mapping[str, Any] | None
) -> list[str]:
    """Return the limitations of the model, as stated and as the data shows them."""
    limits = [*_purpose(model).limits, *load_text().limits]
    if metadata.get("source") == "prior":
        limits.insert(0, "No model: all leads of a band get the same stated figure.")
    if variance := metadata.get("lender_drift"):
        low, high = sigmoid(Z_95 * sqrt(variance) * np.array([-1, 1]))
        limits.append(
            "Lender drift: on later leads the log-odds of a lender differ from the prediction with "
            f"a standard deviation of {sqrt(variance):.2f}; a predicted 50% is then between "
            f"{low:.0%} and {high:.0%}, with 95% probability."
        )
    if validation:
        limits.append(f"Periods and groups with fewer than {MIN_PART_ROWS} rows are not shown.")
        single = [name for name, groups in validation["groups"].items() if len(groups) == 1]
        if single:
            names = ", ".join(single).replace("_", " ")
            limits.append(f"Only one group was large enough to be validated, by: {names}.")
    return limits


def _purpose(model: str) -> Purpose:
    """Return the purpose of `model`; empty text for one that `card.yml` does not describe."""
    return load_text().models.get(model) or Purpose(predicts="", used="", limits=())


def _load_validation(folder: Path) -> dict[str, Any] | None:
    path = folder / "validation.json"
    return read_json(path) if path.is_file() else None


def _load_previous(set_folder: Path | None, model: str) -> dict[str, Any]:
    """Return the date, metadata and features of `model` in the previous set."""
    if set_folder is None or not (set_folder / model / "model.json").is_file():
        return {}
    manifest = read_json(set_folder / "manifest.json")
    content = read_json(set_folder / model / "model.json")
    features = content.get("features", {})
    return {
        "as_of": manifest["as_of"],
        "metadata": manifest["models"].get(model, {}),
        "features": [*features.get("numbers", ()), *features.get("categories", ())],
    }


def _describe_features(folder: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the features with their meaning, reason code and share of the gain, largest first."""
    if content["source"] == "prior":
        return []
    names = [*content["features"]["numbers"], *content["features"]["categories"]]
    lead_columns = {column.name: column.description for column in load("leads").columns}
    meanings = describe_features(names) | {n: lead_columns[n] for n in names if n in lead_columns}
    codes = policy.reason_codes()
    rows = [
        {
            "name": name,
            "meaning": meanings[name],
            "code": codes.get(name, ""),
            "gain": gain,
            "is_category": name in content["features"]["categories"],
        }
        for name, gain in zip(names, _gain_shares(folder, names), strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["gain"], row["name"]))


def _gain_shares(folder: Path, names: list[str]) -> list[float]:
    path = folder / "model.txt"
    if not path.is_file():
        return [0.0] * len(names)
    gains = lightgbm.Booster(model_str=path.read_text("utf-8")).feature_importance("gain")
    if len(gains) != len(names):
        return [0.0] * len(names)
    return [float(gain / (gains.sum() or 1.0)) for gain in gains]


def _list_figures(
    metadata: Mapping[str, Any],
    validation: Mapping[str, Any] | None,
    previous: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return each figure with its interval, before calibration, and of the previous version."""
    figures = metadata.get("figures")
    if not figures:
        return []
    uncalibrated = metadata.get("figures_before_calibration", {})
    previous_figures = previous.get("metadata", {}).get("figures", {})
    intervals = dict(validation["figures"]) if validation else {}
    intervals["auc"] = {"low": figures["auc_low"], "high": figures["auc_high"]}
    return [
        {
            "name": name,
            "meaning": meaning,
            "value": figures[key],
            "low": intervals.get(key, {}).get("low"),
            "high": intervals.get(key, {}).get("high"),
            "uncalibrated": uncalibrated.get(key),
            "previous": previous_figures.get(key),
        }
        for key, name, meaning in FIGURES
    ]


def _list_changes(
    metadata: Mapping[str, Any], features: list[str], previous: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Return the differences from the previous version: name, previous value, present value."""
    if not previous:
        return []
    before = previous["metadata"]
    changes = [
        (name, _shorten(before.get(key)), _shorten(metadata.get(key)))
        for key, name in CHANGES
        if before.get(key) != metadata.get(key)
    ]
    added = [name for name in features if name not in previous["features"]]
    removed = [name for name in previous["features"] if name not in features]
    if added or removed:
        changes.append(("Features", ", ".join(removed) or NOTHING, ", ".join(added) or NOTHING))
    return changes


def _shorten(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return NOTHING if value is None else f"{value}"[:12]


def _plot_calibration(validation: Mapping[str, Any]) -> Markup:
    points = [
        svg.Point(row["predicted"], row["observed"], row["low"], row["high"])
        for row in validation["bins"]
    ]
    return svg.calibration_plot(points, title="Observed rate by predicted probability")


def _plot_periods(validation: Mapping[str, Any]) -> Markup:
    periods = validation["time"]
    return svg.line_plot(
        {"predicted": [row["predicted"] for row in periods]},
        [row["name"] for row in periods],
        title="Predicted and observed rate by period",
        from_zero=False,
        observed=[
            svg.Point(at, row["observed"], row["low"], row["high"])
            for at, row in enumerate(periods)
        ],
    )
