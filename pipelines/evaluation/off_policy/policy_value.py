"""`worth`: what another value policy, or another model set, was worth on logged days."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from yaml import YAMLError

from expectations import policy
from models import model_set as models
from models.champion import registry
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.estimate import (
    Estimate,
    inverse_propensity,
    self_normalised,
)
from pipelines.evaluation.off_policy.logged_policy import (
    Challenger,
    by_models,
    by_value,
    logged,
)
from pipelines.evaluation.off_policy.promotion_test import Verdict, judge


def worth(
    settings: Settings,
    days: Sequence[date],
    challenger: Challenger,
    *,
    known_by: date = date.max,
    of_models: bool = False,
) -> tuple[Verdict, dict[str, Any]]:
    """Return whether a challenger may replace the policy that was logged, and its figures.

    Args:
        settings: Where the days are published.
        days: Business dates that were matched, old enough that most outcomes are known.
        challenger: `by_value` or `by_models`.
        known_by: Outcomes that the lake took in on it or before count.
        of_models: Whether the challenger is one of `by_models`.

    Returns:
        The verdict; `days`, `pairs`, `matches`, `explored`; `logged` (the plan that was logged)
        and `challenger` as `doubly_robust` has them; `gain` of one over the other; what outcomes
        alone say of the challenger, `inverse_propensity` and `self_normalised`; money in the base
        currency, each with `low` and `high` (95%) and `support`.

    Raises:
        InputMissing: A day is not published.
    """
    found = logged(settings, days, challenger, known_by)
    log = found.log
    verdict = judge(log, found.judged, found.planned, policy.exploration(), of_models=of_models)
    alone = {
        "inverse_propensity": inverse_propensity(log, found.judged),
        "self_normalised": self_normalised(log, found.judged),
    }
    estimates = {
        "logged": verdict.champion,
        "challenger": verdict.challenger,
        "gain": verdict.gain,
        **alone,
    }
    return verdict, {
        "days": len(days),
        "pairs": len(log.lead),
        "matches": int(log.is_made.sum()),
        "explored": int((log.is_made & ~found.planned).sum()),
        "planned_by_both": int((found.planned & found.judged).sum()),
        **{name: _rounded(each) for name, each in estimates.items()},
    }


def worth_of(
    settings: Settings, first: date, last: date, *, file: Path | None, as_of: date | None
) -> dict[str, Any]:
    """Return what the command line prints: `worth` of a policy file, or of a model set.

    Args:
        settings: Where the days are published.
        first: First business date that is looked at.
        last: Last one, included.
        file: A value policy, written as `expectations/policy/value.yml` is.
        as_of: A model set of the registry, no younger than `first`: a younger one may have learned
            from these days.

    Raises:
        UsageError: Neither or both are given, or the file is no value policy.
        InputMissing: A day, or the model set, is not published.
    """
    if last < first:
        raise UsageError(f"--to {last} is before --from {first}. Nothing was estimated.")
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    challenger = _challenger(settings, first, file, as_of)
    verdict, figures = worth(settings, days, challenger, of_models=as_of is not None)
    named = {"policy": f"{file}"} if file else {"models": f"{as_of}"}
    said = {"decision": verdict.decision, "reason": verdict.reason}
    return {"from": f"{first}", "to": f"{last}"} | named | figures | said


def _challenger(
    settings: Settings, first: date, file: Path | None, as_of: date | None
) -> Challenger:
    if file and not as_of:
        try:
            return by_value(policy.value_in(file))
        except (OSError, ValidationError, YAMLError) as error:
            words = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise UsageError(
                f"{file} is no value policy: {words}. Nothing was estimated. Write it as "
                "expectations/policy/value.yml is."
            ) from None
    if as_of and not file:
        if as_of > first:
            raise UsageError(
                f"The models of {as_of} may have learned from outcomes of {first}: of these days "
                f"they tell too much. Nothing was estimated. Give --from {as_of} or later."
            )
        if not registry.is_published(settings, as_of):
            raise InputMissing(f"The registry has no models of {as_of}. Nothing was estimated.")
        return by_models(lambda _: models.load(settings, as_of))
    raise UsageError("worth needs either --policy or --models. Nothing was estimated.")


def _rounded(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(estimate).items()}
