"""Measure how long a day of a large simulated market takes to write, with every feed."""

import argparse
import resource
import time
from collections.abc import Sequence
from datetime import date
from typing import Any

from pipelines.bench.fixtures.home import own_home
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.simulate import SimulationPlan, simulate

DAY = date(2025, 3, 3)
"""The first day of a market has every feed; catalogues, lists and links come with it."""
CHANNELS = 20
KIB = 1024
"""Bytes in the unit in which Linux tells the most memory that was taken."""


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return what simulating one day took: `leads`, `institutions`, `seed`, `threads`, `feeds`
    (rows and files of each), `seconds`, `processor_seconds`, `peak_mb`.

    The last two count this process and those that it started, from their beginning.

    Raises:
        UsageError: A market without leads or institutions.
    """
    asked = _parser().parse_args(options)
    if min(asked.leads, asked.institutions) < 1:
        raise UsageError("--leads and --institutions are at least 1. Nothing was measured.")
    began = time.perf_counter()
    with own_home(settings) as home:
        plan = SimulationPlan(DAY, 1, asked.leads, asked.institutions, CHANNELS, asked.seed)
        feeds = simulate(home, plan)["feeds"]
        seconds = time.perf_counter() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "leads": asked.leads,
        "institutions": asked.institutions,
        "seed": asked.seed,
        "threads": settings.threads,
        "feeds": feeds,
        "seconds": round(seconds, 1),
        "processor_seconds": round(sum(each.ru_utime + each.ru_stime for each in used), 1),
        "peak_mb": round(max(each.ru_maxrss for each in used) * KIB / 1_000_000),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench simulate", description=__doc__)
    parser.add_argument("--leads", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--institutions", type=int, default=500, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    return parser
