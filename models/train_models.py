"""Train the model set of a week: risk, approval and take-up, validated and calibrated out of time.

Every newly trained model is a challenger; `models/champion/decision.py` promotes or rejects it.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models.champion import decision, registry
from models.champion.decision import ChampionDecision, Evaluation
from models.champion.evaluation_window import (
    load_evaluation_window,
    load_training_rows,
    min_label_age,
)
from models.champion.registry import Champion, ModelVersion
from models.explanations.fidelity import measure_sample
from models.leakage import check
from models.params import Features, params
from models.scoring.estimators import Estimator, Prior
from models.training.dataset import find_anchor
from models.training.fit_model import InsufficientData, fit
from models.validation import splits
from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings

FIRST_LABELLED = "approval"
"""The model whose labels come first: decisions are known within days."""

COMPARED_WITH_PRIOR = "risk"
"""The model that must beat its prior. The prior of take-up is one rate, which any model must beat;
that of approval needs a risk, which training rows do not have."""

WEEKLY = {"trigger": "weekly"}
YOUNG_MARKET = {"trigger": "young market"}

OffPolicyTests = Callable[[str, date, Estimator, date], tuple[str, str]]
"""`decision.OffPolicyTest` with the model and the date of the set as first arguments."""


def train(
    settings: Settings,
    day: date,
    *,
    as_of: date | None = None,
    trigger: Mapping[str, Any] | None = None,
    off_policy_tests: OffPolicyTests | None = None,
) -> dict[str, Any]:
    """Train a challenger for each model from the marts of `day`, decide, and publish the set.

    Args:
        settings: Settings of the home.
        day: A business date whose marts are published.
        as_of: The date of the set, on or before `day`; by default `find_anchor(day)`.
        trigger: The trigger of the training, with its figures; by default the week.
        off_policy_tests: The off-policy evaluation of a challenger; by default none.

    Returns:
        `as_of` and, by model, the source (model or prior) and main figures of the active version.

    Raises:
        InputMissing: The marts of `day` are not published.
        BanyanError: A challenger cannot be trained, and there is no champion.
    """
    as_of = as_of or find_anchor(day)
    champions = registry.load_champions(settings, as_of)
    decisions = {
        model: _train_and_decide(
            settings, day, model, champions.get(model), as_of, off_policy_tests
        )
        for model in params().models
    }
    registry.save_set(
        settings,
        as_of,
        {model: one.active for model, one in decisions.items()},
        rejected={model: one.rejected for model, one in decisions.items() if one.rejected},
        manifest={
            "training": dict(trigger or WEEKLY),
            "decisions": {model: one.record for model, one in decisions.items()},
        },
    )
    return summarize(settings, as_of)


def _train_and_decide(
    settings: Settings,
    day: date,
    model: str,
    champion: Champion | None,
    as_of: date,
    off_policy_tests: OffPolicyTests | None,
) -> ChampionDecision:
    """Return the decision on `model`; without a trained challenger the champion is retained."""
    refit = partial(fit_or_use_prior, model, features=params().model_features(model))
    try:
        challenger = refit(load_training_rows(settings, day, model, as_of=as_of))
        if champion is None:
            return decision.promote_first(challenger, as_of)
        load_window = partial(load_evaluation_window, settings, day, model, champion, as_of=as_of)
        test = partial(off_policy_tests, model, as_of) if off_policy_tests else None
        return decision.decide(
            Evaluation(model, champion, challenger, as_of, load_window, refit, test)
        )
    except BanyanError as refusal:
        if champion is None:
            raise
        return decision.retain(champion, as_of, [f"{refusal}"])


def ensure_model_set(
    settings: Settings, day: date, off_policy_tests: OffPolicyTests | None = None
) -> dict[str, Any]:
    """Train the set that scores `day` unless the registry has it; return as `train` does.

    It is the set of the week, `find_anchor(day)`. In a market's first `young_market_days` each day
    has a set of its own, so that a new market need not wait for Monday.
    """
    week = find_anchor(day)
    summary = _train_once(settings, day, week, WEEKLY, off_policy_tests)
    if week == day or not _is_young(settings, week):
        return summary
    return _train_once(settings, day, day, YOUNG_MARKET, off_policy_tests)


def _train_once(
    settings: Settings,
    day: date,
    as_of: date,
    trigger: Mapping[str, Any],
    off_policy_tests: OffPolicyTests | None,
) -> dict[str, Any]:
    if registry.is_published(settings, as_of):
        return summarize(settings, as_of)
    return train(settings, day, as_of=as_of, trigger=trigger, off_policy_tests=off_policy_tests)


def _is_young(settings: Settings, as_of: date) -> bool:
    """Return whether the first lead with a decision came less than `young_market_days` ago."""
    first = registry.load_metadata(settings, as_of)[FIRST_LABELLED].get("first_lead_on")
    return first is None or (as_of - date.fromisoformat(first)).days < params().young_market_days


def fit_or_use_prior(model: str, table: pa.Table, features: Features) -> ModelVersion:
    """Return `model` trained on the rows of `table`, or its prior if they are too few.

    Raises:
        LeakingFeatures: A feature contains information from after the outcome.
    """
    metadata: dict[str, Any] = {
        "rows": table.num_rows,
        "min_age_days": min_label_age(table),
        **_lead_dates(table),
        "leaks": check.require_no_leaks(model, table, features),
    }
    try:
        prior = Prior(model, "compared") if model == COMPARED_WITH_PRIOR else None
        optional = params().models[model].optional_features
        estimator, facts = fit(
            table, features, splits.split_by_time(table), prior=prior, optional=optional
        )
    except InsufficientData as error:
        metadata |= {"source": "prior", "reason": f"{error}"}
        return ModelVersion(Prior(model, f"{error}"), metadata)
    facts["reasons"] = measure_sample(estimator, facts["reference_profile"], table)
    return ModelVersion(estimator, metadata | {"source": "model"} | facts)


def _lead_dates(table: pa.Table) -> dict[str, str]:
    if not table.num_rows:
        return {}
    ends = pc.min_max(table["business_date"]).as_py()
    return {"first_lead_on": f"{ends['min']}", "last_lead_on": f"{ends['max']}"}


def summarize(settings: Settings, as_of: date) -> dict[str, Any]:
    """Return the summary that `train` returns, of the set of `as_of`."""
    return {"as_of": f"{as_of}"} | {
        model: {"source": metadata["source"], "rows": metadata["rows"]}
        | {key: metadata["figures"][key] for key in ("auc", "ece") if "figures" in metadata}
        | {
            f"keeps_{name}": test["kept"]
            for name, test in metadata.get("optional_features", {}).items()
        }
        for model, metadata in registry.load_metadata(settings, as_of).items()
    }
