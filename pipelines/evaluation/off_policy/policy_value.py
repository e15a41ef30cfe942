"""Estimate the value of a challenger policy on logged days, and decide whether it may be used.

A challenger is another value policy or another model set. The same decision is evidence in the
weekly champion-challenger evaluation of models.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from yaml import YAMLError

from expectations import policy
from expectations.policy_types import Exploration
from models import model_set as models
from models.champion import registry
from models.model_set import ModelSet
from models.params import params
from models.scoring.estimators import Estimator
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.estimate import (
    Estimate,
    PolicyLog,
    Probabilities,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)
from pipelines.evaluation.off_policy.logged_policy import (
    ChallengerPolicy,
    build_model_challenger,
    build_value_challenger,
    load_log,
)
from pipelines.matches import exploration_log

Decision = Literal["promoted", "rejected", "abstained"]

MAX_DAYS = 3
"""Days that are scored and planned again for a challenger of the weekly evaluation; each takes as
long as the day itself."""


@dataclass(frozen=True)
class PolicyDecision:
    """A decision on a challenger policy, with its evidence."""

    decision: Decision
    """`abstained`: too little of its difference from the champion was ever explored."""
    reason: str
    challenger: Estimate
    champion: Estimate
    gain: Estimate
    """Of the challenger over the champion."""

    @property
    def is_promoted(self) -> bool:
        """Return whether the challenger may be used."""
        return self.decision == "promoted"


def decide_promotion(
    log: PolicyLog,
    challenger: Probabilities,
    champion: Probabilities,
    limits: Exploration,
    *,
    compares_models: bool = False,
) -> PolicyDecision:
    """Return whether `challenger` may replace `champion`.

    It may if even the lower end of the interval of its gain loses no more than the policy allows,
    and enough of its difference from the champion was explored. If models are compared, the
    expected values of the log are the champion's own, so nothing is decided without support.

    Args:
        log: The logged pairs and their outcomes.
        challenger: Pairs of the new policy.
        champion: Pairs of the current policy.
        limits: The largest loss allowed, and the least support required.
        compares_models: True if the policies differ by their models, not by their value policy.
    """
    ours, theirs = doubly_robust(log, champion), doubly_robust(log, challenger)
    gain = doubly_robust(log, challenger, baseline=champion)
    largest_loss = limits.max_loss * ours.value
    figures = f"{gain.value:+,.0f} ({gain.low:+,.0f} to {gain.high:+,.0f}) on {ours.value:,.0f}"
    decision: Decision = "rejected"
    name = "min_model_support" if compares_models else "min_support"
    least = float(getattr(limits, name))
    if gain.high < 0 and not (compares_models and gain.support < least):
        reason = f"it would lose; its gain is {figures}"
    elif gain.support < least:
        decision = "abstained"
        reason = (
            f"only {gain.support:.0%} of its difference was ever explored, and `{name}` in "
            f"exploration.yml is {least:.0%}; its gain by the current models is {figures}"
        )
    elif gain.low < -largest_loss:
        reason = (
            f"it may lose more than the {limits.max_loss:.1%} that `max_loss` in "
            f"exploration.yml allows; its gain is {figures}"
        )
    else:
        decision, reason = "promoted", f"its gain is {figures}"
    return PolicyDecision(decision, reason, theirs, ours, gain)


def evaluate_challenger(
    settings: Settings,
    days: Sequence[date],
    challenger: ChallengerPolicy,
    *,
    known_by: date = date.max,
    compares_models: bool = False,
) -> tuple[PolicyDecision, dict[str, Any]]:
    """Return whether a challenger may replace the logged policy, and its figures.

    Args:
        settings: Settings of the home.
        days: Business dates that were matched, old enough that most outcomes are known.
        challenger: Built by `build_value_challenger` or `build_model_challenger`.
        known_by: Outcomes that count at the end of this day are used.
        compares_models: True if the challenger was built by `build_model_challenger`.

    Returns:
        The decision; `days`, `pairs`, `matches`, `explored`; `logged` (the plan without
        exploration) and `challenger` by `doubly_robust`; `gain` of the challenger; the value of the
        challenger by outcomes alone, `inverse_propensity` and `self_normalised`; money in the base
        currency, each with `low` and `high` (95%) and `support`.

    Raises:
        InputMissing: A day is not published.
    """
    logged = load_log(settings, days, challenger, known_by)
    log = logged.log
    decision = decide_promotion(
        log,
        logged.challenger,
        logged.planned,
        policy.exploration(),
        compares_models=compares_models,
    )
    estimates = {
        "logged": decision.champion,
        "challenger": decision.challenger,
        "gain": decision.gain,
        "inverse_propensity": inverse_propensity(log, logged.challenger),
        "self_normalised": self_normalised(log, logged.challenger),
    }
    return decision, {
        "days": len(days),
        "pairs": len(log.lead),
        "matches": int(log.is_made.sum()),
        "explored": int((log.is_made & ~logged.planned).sum()),
        "planned_by_both": int((logged.planned & logged.challenger).sum()),
        **{name: _round(each) for name, each in estimates.items()},
    }


def estimate_policy_value(
    settings: Settings, first: date, last: date, *, file: Path | None, as_of: date | None
) -> dict[str, Any]:
    """Return the figures of a value policy in a file, or of a model set, for the command line.

    Args:
        settings: Settings of the home.
        first: First business date.
        last: Last business date, included.
        file: A value policy, written as `expectations/policy/value.yml`.
        as_of: Date of a model set of the registry, not after `first`: a later one may have been
            trained on these days.

    Raises:
        UsageError: Neither or both are given, or the file is no value policy.
        InputMissing: A day, or the model set, is not published.
    """
    if last < first:
        raise UsageError(f"--to {last} is before --from {first}. Nothing was estimated.")
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    challenger = _build_challenger(settings, first, file, as_of)
    decision, figures = evaluate_challenger(
        settings, days, challenger, compares_models=as_of is not None
    )
    name = {"policy": f"{file}"} if file else {"models": f"{as_of}"}
    outcome = {"decision": decision.decision, "reason": decision.reason}
    return {"from": f"{first}", "to": f"{last}"} | name | figures | outcome


def _build_challenger(
    settings: Settings, first: date, file: Path | None, as_of: date | None
) -> ChallengerPolicy:
    if file and not as_of:
        try:
            return build_value_challenger(policy.value_in(file))
        except (OSError, ValidationError, YAMLError) as error:
            text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise UsageError(
                f"{file} is no value policy: {text}. Nothing was estimated. Write it as "
                "expectations/policy/value.yml is."
            ) from None
    if as_of and not file:
        if as_of > first:
            raise UsageError(
                f"The models of {as_of} may have been trained on outcomes of {first}, so their "
                f"value would be overstated. Nothing was estimated. Give --from {as_of} or later."
            )
        if not registry.is_published(settings, as_of):
            raise InputMissing(f"The registry has no models of {as_of}. Nothing was estimated.")
        return build_model_challenger(lambda _: models.load(settings, as_of))
    raise UsageError("off-policy needs either --policy or --models. Nothing was estimated.")


def _round(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(estimate).items()}


def evaluate_model_on_log(
    settings: Settings, model: str, as_of: date, recipe: Estimator, begins: date
) -> tuple[str, str]:
    """Return the decision on a challenger model by the exploration log, and the reason.

    The log of the newest days whose decisions count since `begins` is used, so that neither the
    champion nor the challenger's recipe was trained on it. The challenger is rejected only if its
    loss is significant.

    Args:
        settings: Settings of the home.
        model: Name of the model; the others stay the ones of the day.
        as_of: Date of the evaluation; outcomes known before it count.
        recipe: The challenger, fitted on outcomes known before `begins`.
        begins: Outcomes known from this day on are new to it.
    """
    maturity = params().decision_maturity_days
    newest = [as_of - timedelta(days=maturity + number) for number in range(1, MAX_DAYS + 1)]
    first = begins - timedelta(days=maturity)
    days = sorted(day for day in newest if day >= first and _has_log(settings, day))
    if not days:
        return "abstained", "no day with an exploration log is old enough"

    def select_models(day: date) -> ModelSet:
        model_set = models.load(settings, day)
        return replace(model_set, estimators=model_set.estimators | {model: recipe})

    decision, _ = evaluate_challenger(
        settings,
        days,
        build_model_challenger(select_models),
        known_by=as_of - timedelta(days=1),
        compares_models=True,
    )
    is_uncertain = decision.decision == "rejected" and decision.gain.high >= 0
    return "undecided" if is_uncertain else decision.decision, decision.reason


def _has_log(settings: Settings, day: date) -> bool:
    matches = settings.day_folder(settings.matches, day)
    roots = (settings.marts, settings.pairs, settings.matches)
    is_published = all((settings.day_folder(root, day) / MANIFEST).is_file() for root in roots)
    return is_published and (matches / exploration_log.FILE).is_file()
