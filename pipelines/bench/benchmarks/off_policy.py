"""Off-policy estimates: coverage of their intervals, width and bias, by the truth.

A market is simulated, its models are trained on days of broadcast, and its last days are matched.
Then many logs are drawn, each with random exploration and with outcomes by the truth. Several other
policies are estimated from each log and compared with their true value.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import numpy as np

from expectations import policy
from pipelines.bench.benchmarks.logged_days import LoggedDay, draw_log, simulate_days
from pipelines.bench.shell import Figures, Stopwatch, count_option, seed_option, temporary_home
from pipelines.core.arrays import BoolArray, FloatArray
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.estimate import (
    Estimate,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)
from pipelines.evaluation.off_policy.policy_value import decide_promotion

ESTIMATORS: Mapping[str, Callable[..., Estimate]] = {
    "doubly_robust": doubly_robust,
    "inverse_propensity": inverse_propensity,
    "self_normalised": self_normalised,
}
HARMFUL = "shuffled"
"""The policy that must never be promoted: it plans by values in random order."""


def _fees_count(day: LoggedDay) -> FloatArray:
    return day.candidates.value + 0.5 * day.parts["revenue"]


def _people_first(day: LoggedDay) -> FloatArray:
    return day.candidates.value + 0.2 * day.parts["person_benefit"]


def _half_truth(day: LoggedDay) -> FloatArray:
    return 0.5 * day.candidates.value + 0.5 * day.true_value


def _shuffled(day: LoggedDay) -> FloatArray:
    return np.random.default_rng(7).permutation(day.candidates.value)


POLICIES: Mapping[str, Callable[[LoggedDay], FloatArray]] = {
    "fees_count": _fees_count,
    "people_first": _people_first,
    "half_truth": _half_truth,
    HARMFUL: _shuffled,
}
"""Name -> the values by which a policy plans."""


@click.command("off-policy")
@count_option("--runs", 100, "Number of logs.")
@count_option("--days", 3, "Matched days.")
@count_option("--history", 14, "Days of broadcast before them.")
@count_option("--leads-per-day", 2_000, "Leads of each day.")
@count_option("--institutions", 60, "Number of institutions.")
@seed_option
@click.pass_obj
def command(
    settings: Settings,
    *,
    runs: int,
    days: int,
    history: int,
    leads_per_day: int,
    institutions: int,
    seed: int,
) -> Figures:
    """Measure coverage and bias of off-policy estimates, by the truth."""
    stopwatch = Stopwatch()
    with temporary_home(settings) as home:
        logged = simulate_days(home, history, days, (leads_per_day, institutions), seed)
    seconds_of_market = stopwatch.seconds
    return {
        "runs": runs,
        "days": days,
        "leads_per_day": leads_per_day,
        **measure_coverage(logged, runs, seed),
        "seconds_of_market": round(seconds_of_market, 1),
        "seconds": round(stopwatch.seconds, 1),
    }


def measure_coverage(days: Sequence[LoggedDay], runs: int, seed: int) -> Figures:
    """Return the coverage of 95% intervals over `runs` logs, by policy and estimator.

    Returns:
        `explored`: share of matches from exploration; `exploration_cost`, as a share of the plan's
        expected value. `policies`: for each its `true_value`, `true_gain` over the logged plan,
        `support`, the counts of `promoted`, `rejected` and `abstained`, and for each estimator
        `coverage` (share of runs), `width` (mean, as a share of the true value) and `bias`
        (likewise). Over all policies: `coverage` (the least), `width` and `bias` (means) of the
        doubly robust estimate; `harmful_promoted`.
    """
    plans = {
        name: np.concatenate([day.plan_by(value(day)) for day in days])
        for name, value in POLICIES.items()
    }
    results = [_run(days, plans, np.random.default_rng([seed, n])) for n in range(runs)]
    true = np.concatenate([day.true_value for day in days])
    logged = float(true[np.concatenate([day.plan.chosen for day in days])].sum())
    policies = {
        name: _policy_figures(float(true[plan].sum()), logged, [run[name] for run in results])
        for name, plan in plans.items()
    }
    robust = [figures["doubly_robust"] for figures in policies.values()]
    return {
        "logged_value": round(logged),
        "explored": _mean(results, "explored"),
        "exploration_cost": _mean(results, "exploration_cost"),
        "policies": policies,
        "coverage": min(figures["coverage"] for figures in robust),
        "width": round(float(np.mean([figures["width"] for figures in robust])), 4),
        "bias": round(float(np.mean([figures["bias"] for figures in robust])), 4),
        "harmful_promoted": policies[HARMFUL]["promoted"],
        "harmful_rejected": policies[HARMFUL]["rejected"],
    }


def _run(
    days: Sequence[LoggedDay], plans: Mapping[str, BoolArray], random: np.random.Generator
) -> dict[str, Any]:
    """Return the estimates of each policy from one log."""
    log = draw_log(days, random)
    is_planned = np.concatenate([day.plan.chosen for day in days])
    planned_value = float(log.expected[is_planned].sum())
    return {
        "explored": float((log.is_made & ~is_planned).sum() / log.is_made.sum()),
        "exploration_cost": 1 - float(log.expected[log.is_made].sum()) / planned_value,
    } | {
        name: {
            **{by: estimate(log, plan) for by, estimate in ESTIMATORS.items()},
            "decision": decide_promotion(log, plan, is_planned, policy.exploration()),
        }
        for name, plan in plans.items()
    }


def _mean(results: Sequence[dict[str, Any]], name: str) -> float:
    return round(float(np.mean([run[name] for run in results])), 5)


def _policy_figures(true: float, logged: float, results: Sequence[dict[str, Any]]) -> Figures:
    decisions = [run["decision"].decision for run in results]
    return {
        "true_value": round(true),
        "true_gain": round(true - logged),
        "support": round(float(np.mean([run["doubly_robust"].support for run in results])), 3),
        **{name: decisions.count(name) for name in ("promoted", "rejected", "abstained")},
        **{by: _compare(true, [run[by] for run in results]) for by in ESTIMATORS},
        "example": results[0]["decision"].reason,
    }


def _compare(true: float, estimates: Sequence[Estimate]) -> dict[str, float]:
    """Return coverage, width and bias of the estimates of a true value."""
    value = np.array([estimate.value for estimate in estimates])
    low, high = (np.array([getattr(e, end) for e in estimates]) for end in ("low", "high"))
    return {
        "coverage": round(float(np.mean((low <= true) & (true <= high))), 3),
        "width": round(float(np.mean(high - low)) / true, 4),
        "bias": round(float(value.mean() / true - 1), 4),
    }
