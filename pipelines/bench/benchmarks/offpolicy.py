"""`bench offpolicy`: does an estimate from the log cover what a policy would truly have been worth?

A market is simulated, its models learn from days of broadcast, and its last days are matched. Then,
many times over, trials are drawn beside the plan, outcomes are drawn by the truth, and several
other policies are estimated from that log, each compared with its true worth.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import numpy as np

from expectations import policy
from pipelines.bench.fixtures.home import own_home
from pipelines.bench.fixtures.logged_policies import Day, days, drawn
from pipelines.core.arrays import BoolArray, FloatArray
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.estimate import (
    Estimate,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)
from pipelines.evaluation.off_policy.promotion_test import judge

ESTIMATORS: Mapping[str, Callable[..., Estimate]] = {
    "doubly_robust": doubly_robust,
    "inverse_propensity": inverse_propensity,
    "self_normalised": self_normalised,
}
HARMFUL = "shuffled"
"""The policy that must never be promoted: it plans by values dealt out at random."""


def _revenue_only(day: Day) -> FloatArray:
    return day.parts["revenue"]


def _people_first(day: Day) -> FloatArray:
    return day.candidates.value + 0.2 * day.parts["person_benefit"]


def _knows_more(day: Day) -> FloatArray:
    return 0.5 * day.candidates.value + 0.5 * day.true_value


def _shuffled(day: Day) -> FloatArray:
    return np.random.default_rng(7).permutation(day.candidates.value)


POLICIES: Mapping[str, Callable[[Day], FloatArray]] = {
    "revenue_only": _revenue_only,
    "people_first": _people_first,
    "knows_more": _knows_more,
    HARMFUL: _shuffled,
}
"""Name -> the values by which a policy plans, beside the one that was logged."""


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return how often 95% intervals covered the true worth, by policy and estimator.

    Returns:
        `explored`: share of matches that were drawn; `price_of_learning`: what that takes from the
        plan's expected value, as a share. `policies`: for each its `true_worth`, `true_gain` over
        the logged plan, `support`, how often it was `promoted`, `refused` and `abstained`, and for
        each estimator `coverage` (share of runs), `width` (mean, as a share of the true worth) and
        `bias` (likewise). Over all policies: `coverage` (the least), `width` and `bias` (means) of
        the doubly robust estimate. `harmful_promoted`; `runs`; `seconds`.
    """
    asked = _parser().parse_args(options)
    began = monotonic()
    with own_home(settings) as home:
        size = (asked.leads_per_day, asked.institutions)
        matched = days(home, asked.history, asked.days, size, asked.seed)
    ready = monotonic()
    return {
        "runs": asked.runs,
        "days": asked.days,
        "leads_per_day": asked.leads_per_day,
        **figures(matched, asked.runs, asked.seed),
        "seconds_of_market": round(ready - began, 1),
        "seconds": round(monotonic() - began, 1),
    }


def figures(matched: Sequence[Day], runs: int, seed: int) -> dict[str, Any]:
    """Return what `main` says of some days and as many logs of them."""
    plans = {
        name: np.concatenate([day.planned_by(value(day)) for day in matched])
        for name, value in POLICIES.items()
    }
    told = [_run(matched, plans, np.random.default_rng([seed, n])) for n in range(runs)]
    true = np.concatenate([day.true_value for day in matched])
    logged = float(true[np.concatenate([day.plan.chosen for day in matched])].sum())
    found = {
        name: _figures(float(true[plan].sum()), logged, [run[name] for run in told])
        for name, plan in plans.items()
    }
    robust = {name: each["doubly_robust"] for name, each in found.items()}
    return {
        "logged_worth": round(logged),
        "explored": _mean(told, "explored"),
        "price_of_learning": _mean(told, "price_of_learning"),
        "policies": found,
        "coverage": min(each["coverage"] for each in robust.values()),
        "width": round(float(np.mean([each["width"] for each in robust.values()])), 4),
        "bias": round(float(np.mean([each["bias"] for each in robust.values()])), 4),
        "harmful_promoted": found[HARMFUL]["promoted"],
        "harmful_refused": found[HARMFUL]["refused"],
    }


def _run(
    matched: Sequence[Day], plans: Mapping[str, BoolArray], random: np.random.Generator
) -> dict[str, Any]:
    """Return, by policy, what one log of trials and outcomes says of it."""
    log = drawn(matched, random)
    planned = np.concatenate([day.plan.chosen for day in matched])
    of_planned = float(log.expected[planned].sum())
    return {
        "explored": float((log.is_made & ~planned).sum() / log.is_made.sum()),
        "price_of_learning": 1 - float(log.expected[log.is_made].sum()) / of_planned,
    } | {
        name: {
            **{by: estimate(log, plan) for by, estimate in ESTIMATORS.items()},
            "verdict": judge(log, plan, planned, policy.exploration()),
        }
        for name, plan in plans.items()
    }


def _mean(told: Sequence[dict[str, Any]], name: str) -> float:
    return round(float(np.mean([run[name] for run in told])), 5)


def _figures(true: float, logged: float, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    decisions = [run["verdict"].decision for run in told]
    return {
        "true_worth": round(true),
        "true_gain": round(true - logged),
        "support": round(float(np.mean([run["doubly_robust"].support for run in told])), 3),
        **{name: decisions.count(name) for name in ("promoted", "refused", "abstained")},
        **{by: _against(true, [run[by] for run in told]) for by in ESTIMATORS},
        "example": told[0]["verdict"].reason,
    }


def _against(true: float, estimates: Sequence[Estimate]) -> dict[str, float]:
    worth = np.array([each.worth for each in estimates])
    low, high = (np.array([getattr(each, end) for each in estimates]) for end in ("low", "high"))
    return {
        "coverage": round(float(np.mean((low <= true) & (true <= high))), 3),
        "width": round(float(np.mean(high - low)) / true, 4),
        "bias": round(float(worth.mean() / true - 1), 4),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines bench offpolicy", description=__doc__
    )
    parser.add_argument("--runs", type=int, default=100, metavar="N")
    parser.add_argument("--days", type=int, default=3, metavar="N", help="matched days")
    parser.add_argument("--history", type=int, default=14, metavar="N", help="days of broadcast")
    parser.add_argument("--leads-per-day", type=int, default=2_000, metavar="N")
    parser.add_argument("--institutions", type=int, default=60, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    return parser
