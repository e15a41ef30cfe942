"""A model's card: one self-contained page of what it is for, what it learned from and how it did.

It is written when a version is trained and lies beside it, so equal versions have equal cards.
"""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm
from markupsafe import Markup

from expectations import policy
from expectations.contracts import load
from models.cards import text
from models.champion import model_artifacts
from models.features.feature_definitions import describe_features
from models.params import params
from pipelines.core import svg
from pipelines.core.formats import NOTHING
from pipelines.core.html import environment

TEMPLATES = Path(__file__).parent / "templates"
NAME = "card.html"

FIGURES = (
    ("auc", "AUC", "how well the order is: 1 is perfect, 0.5 a coin"),
    ("ks", "KS", "largest distance between those it happened to and the rest"),
    ("brier", "Brier score", "mean squared error of the probability; lower is better"),
    ("ece", "ECE", "mean distance between what was said and what happened; lower is better"),
    ("base_rate", "Base rate", "how often it happened"),
)
"""Figures of the card: key, name, meaning."""


def write_cards(
    set_folder: Path,
    as_of: date,
    facts: Mapping[str, Mapping[str, Any]],
    *,
    before: Path | None = None,
    decisions: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the card of each model in `set_folder` that has none: a kept champion has its own.

    Args:
        set_folder: The set that is about to be published, its models written.
        as_of: Its name.
        facts: Model -> what the manifest says of it.
        before: The published set before it; None for the first.
        decisions: Model -> `decision`, `reason` and figures of champion against challenger.
    """
    for name, said in facts.items():
        folder = set_folder / name
        if not (folder / NAME).exists():
            decided = (decisions or {}).get(name.rpartition("/")[2], {})
            page = render(folder, as_of, said, before=_before(before, folder.name), decided=decided)
            (folder / NAME).write_text(page, "utf-8")


def render(
    folder: Path,
    as_of: date,
    facts: Mapping[str, Any],
    *,
    before: Mapping[str, Any],
    decided: Mapping[str, Any],
) -> str:
    """Return the card of the model in `folder` as HTML.

    Args:
        folder: Where the model is written; its name is the model's.
        as_of: The set's name.
        facts: What the manifest says of it.
        before: `as_of`, `facts` and `features` of the version before; empty where there is none.
        decided: Champion against challenger; empty where nobody decided.
    """
    model = folder.name
    content = json.loads((folder / "model.json").read_text("utf-8"))
    checked = model_artifacts.read(folder, "checked")
    features = _features(folder, content)
    return environment(TEMPLATES).get_template(NAME).render(
        model=model,
        as_of=as_of,
        facts=facts,
        is_prior=content["source"] == "prior",
        prior_source=policy.priors().source,
        purpose=text.purpose(model),
        label=text.label(model),
        figures=_figures(facts, checked, before),
        checked=checked,
        features=features,
        most_gain=max((row["gain"] for row in features), default=0.0),
        limits=text.limits(model, facts, checked),
        before=before,
        changes=_changes(facts, [row["name"] for row in features], before),
        decided=decided,
        protected=sorted(policy.protected()),
        parameters=params().boosting,
        calibration_plot=_calibration_plot(checked) if checked else None,
        time_plot=_time_plot(checked) if checked and checked["time"] else None,
    )  # fmt: skip


def _calibration_plot(checked: Mapping[str, Any]) -> Markup:
    points = [
        svg.Point(row["predicted"], row["observed"], row["low"], row["high"])
        for row in checked["bins"]
    ]
    return svg.calibration_plot(points, title="Observed rate by predicted probability")


def _time_plot(checked: Mapping[str, Any]) -> Markup:
    periods = checked["time"]
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


def _before(folder: Path | None, model: str) -> dict[str, Any]:
    """Return what is known of `model` in the set before."""
    if folder is None or not (folder / model / "model.json").is_file():
        return {}
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    content = json.loads((folder / model / "model.json").read_text("utf-8"))
    named = content.get("features", {})
    return {
        "as_of": manifest["as_of"],
        "facts": manifest["models"].get(model, {}),
        "features": [*named.get("numbers", ()), *named.get("categories", ())],
    }


def _features(folder: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the features with their meaning, reason code and share of the gain, largest first."""
    if content["source"] == "prior":
        return []
    names = [*content["features"]["numbers"], *content["features"]["categories"]]
    gains = _gains(folder, names)
    of_leads = {column.name: column.description for column in load("leads").columns}
    meant = describe_features(names) | {name: of_leads[name] for name in names if name in of_leads}
    codes = policy.reason_codes()
    rows = [
        {
            "name": name,
            "meaning": meant[name],
            "code": codes.get(name, ""),
            "gain": gain,
            "is_category": name in content["features"]["categories"],
        }
        for name, gain in zip(names, gains, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row["gain"], row["name"]))


def _gains(folder: Path, names: list[str]) -> list[float]:
    path = folder / "model.txt"
    if not path.is_file():
        return [0.0] * len(names)
    found = lightgbm.Booster(model_str=path.read_text("utf-8")).feature_importance("gain")
    if len(found) != len(names):
        return [0.0] * len(names)
    return [float(value / (found.sum() or 1.0)) for value in found]


def _figures(
    facts: Mapping[str, Any], checked: Mapping[str, Any] | None, before: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return each figure with its interval, before calibration, and of the version before."""
    now = facts.get("figures")
    if not now:
        return []
    raw, then = facts.get("figures_before_calibration", {}), before.get("facts", {})
    ends = dict(checked["figures"]) if checked else {}
    ends["auc"] = {"low": now["auc_low"], "high": now["auc_high"]}
    return [
        {
            "name": name,
            "meaning": meaning,
            "value": now[key],
            "low": ends.get(key, {}).get("low"),
            "high": ends.get(key, {}).get("high"),
            "raw": raw.get(key),
            "before": then.get("figures", {}).get(key),
        }
        for key, name, meaning in FIGURES
    ]


def _changes(
    facts: Mapping[str, Any], features: list[str], before: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Return what differs from the version before: what, then, now."""
    if not before:
        return []
    then = before["facts"]
    keys = (
        ("source", "Source"),
        ("rows", "Rows known"),
        ("first_lead_on", "First lead"),
        ("last_lead_on", "Last lead"),
        ("trees", "Trees"),
        ("data_sha256", "Data"),
    )
    told = [
        (name, _short(then.get(key)), _short(facts.get(key)))
        for key, name in keys
        if then.get(key) != facts.get(key)
    ]
    added = [name for name in features if name not in before["features"]]
    dropped = [name for name in before["features"] if name not in features]
    if added or dropped:
        told.append(("Features", ", ".join(dropped) or NOTHING, ", ".join(added) or NOTHING))
    return told


def _short(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return NOTHING if value is None else f"{value}"[:12]
