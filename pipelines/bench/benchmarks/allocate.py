"""Measure the allocation where only quotas bind, against OR-tools and HiGHS on the same pairs."""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.lagrangian_solver import SolverOptions as How
from pipelines.allocation.problem import build_quota_limit
from pipelines.bench.fixtures.instance import Instance, drawn, next_day
from pipelines.core.errors import IntegrityError, UsageError
from pipelines.core.settings import Settings

KIB = 1024
"""Bytes in the unit in which Linux tells the most memory that was taken."""
CHANGED = 0.05
"""Share of the leads that are others on the second day of `--warm`."""


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one instance with quotas alone, as contracts.md names them.

    Raises:
        UsageError: An instance without leads, or with more candidates than products.
    """
    return measured("allocate", settings, options)


def measured(case: str, settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return the figures of `case`: `value`, `bound`, `gap`, `seconds`, `processor_seconds`,
    `peak_mb`, `broken_constraints`, `evaluations`, what was asked, and `peers` and `warm` if asked.
    """
    asked = _parser(case).parse_args(options)
    if min(asked.leads, asked.offers, asked.candidates) < 1 or asked.candidates > asked.products:
        raise UsageError(
            "--leads, --candidates and --offers are at least 1, and --candidates at most "
            "--products. Nothing was measured."
        )
    size = (asked.leads, asked.products, asked.candidates, asked.seed, asked.offers)
    instance = drawn(*size)
    how = How(parts=asked.parts, threads=settings.threads)
    plan, figures = _timed(case, instance, how)
    names = ("leads", "products", "candidates", "seed", "offers", "parts")
    figures |= {name: getattr(asked, name) for name in names} | {"threads": settings.threads}
    if asked.warm:
        figures["warm"] = _second_day(case, instance, how, plan)
    if asked.peers:
        del instance, plan
        figures["peers"] = {peer: _peer(peer, case, size) for peer in PEERS[case]}
    return figures


PEERS = {"allocate": ("ortools", "highs_ipm"), "budgets": ("highs_ipm",)}
"""Case -> the solvers that fit it."""


def _timed(
    case: str, instance: Instance, how: How, start: Plan | None = None
) -> tuple[Plan, dict[str, Any]]:
    limits = instance.limits() if case == "budgets" else ()
    began, worked = time.perf_counter(), time.process_time()
    plan = allocate(
        instance.candidates,
        instance.quota,
        most_offers=instance.most_offers,
        limits=limits,
        start=start.prices if start else None,
        options=how,
    )
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1_000_000
    return plan, {
        "value": round(plan.value, 2),
        "bound": round(plan.bound, 2),
        "gap": plan.gap,
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "peak_mb": round(peak),
        "broken_constraints": broken(case, instance, plan),
        "evaluations": plan.evaluations,
    }


def broken(case: str, instance: Instance, plan: Plan) -> int:
    """Return how many constraints the plan breaks, counted from the pairs."""
    pairs, rows = instance.candidates, np.flatnonzero(plan.chosen)
    limits = [build_quota_limit(pairs.product, instance.quota)]
    limits += instance.limits() if case == "budgets" else ()
    of_lead = np.bincount(pairs.lead[rows])
    at_institution = pairs.lead[rows] * (int(pairs.institution.max()) + 1) + pairs.institution[rows]
    _, times = np.unique(at_institution, return_counts=True)
    too_many = int((of_lead > instance.most_offers).sum()) + int((times > 1).sum())
    return too_many + sum(limit.count_violations(rows) for limit in limits)


def _second_day(case: str, instance: Instance, how: How, yesterday: Plan) -> dict[str, Any]:
    """Return a day of which 5% changed: from yesterday's prices, and from nothing."""
    today = next_day(instance, CHANGED, seed=1)
    _, warm = _timed(case, today, how, start=yesterday)
    _, cold = _timed(case, today, how)
    share = warm["processor_seconds"] / max(cold["processor_seconds"], 1e-9)
    return {"changed": CHANGED, "warm": warm, "cold": cold, "share_of_cold": round(share, 3)}


def _peer(peer: str, case: str, size: tuple[int, ...]) -> dict[str, Any]:
    """Return the figures of a peer, which solves the same instance in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "pipelines.bench.benchmarks.reference_solvers",
        peer,
        case,
        *map(str, size),
    ]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if ended.returncode:
        raise IntegrityError(f"the peer {peer} ended with {ended.returncode}; see above why.")
    figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def _parser(case: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m pipelines bench {case}")
    parser.add_argument("--leads", type=int, default=100_000, metavar="N")
    parser.add_argument("--products", type=int, default=500, metavar="N")
    parser.add_argument("--candidates", type=int, default=20, metavar="N", help="of each lead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--offers", type=int, default=3, metavar="N", help="most of one lead")
    parser.add_argument("--parts", type=int, default=1, metavar="N", help="the leads are cut into")
    parser.add_argument("--peers", action="store_true", help="let other solvers do the same")
    parser.add_argument(
        "--warm", action="store_true", help="then a day of which 5%% changed, from these prices"
    )
    return parser
