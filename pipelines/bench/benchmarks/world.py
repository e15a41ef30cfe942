"""`bench world`: what acquiring a borrower costs in the simulated market before Banyan, by seed.

Each seed is a market of its own, played for some days as `season` plays them, through the real
pipeline; the figures are those that the scorecard gives for `broadcast`.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import mean
from time import monotonic
from typing import Any

from pipelines.bench.fixtures.home import own_home
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings

FIGURES = (
    "cost_share_of_yield",
    "cost_share_of_loans",
    "cost_per_funded",
    "approval_rate",
    "default_rate",
)
"""Of the scorecard's, what is told of each seed."""


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Play each seed's market and return its broadcast figures.

    Returns:
        `seeds`: for each seed the `FIGURES`; their `mean`, and the `lowest` and `highest` share of
        the yield; `seconds`.

    Raises:
        IntegrityError: A season failed.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines bench world", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--days", type=int, default=3, metavar="N")
    parser.add_argument("--leads-per-day", type=int, default=2_000, metavar="N")
    parser.add_argument("--institutions", type=int, default=60, metavar="N")
    parser.add_argument("--start", default="2025-03-03")
    asked = parser.parse_args(options)
    started = monotonic()
    seeds = {f"{seed}": _of_seed(settings, asked, seed) for seed in range(1, asked.seeds + 1)}
    shares = [figures["cost_share_of_yield"] for figures in seeds.values()]
    return {
        "seeds": seeds,
        "mean": {name: round(mean(f[name] for f in seeds.values()), 6) for name in seeds["1"]},
        "lowest": min(shares),
        "highest": max(shares),
        "seconds": round(monotonic() - started, 1),
    }


def _of_seed(settings: Settings, asked: argparse.Namespace, seed: int) -> dict[str, float]:
    with own_home(settings) as home:
        options = {
            "--home": home.home,
            "--start": asked.start,
            "--days": asked.days,
            "--leads-per-day": asked.leads_per_day,
            "--institutions": asked.institutions,
            "--seed": seed,
        }
        told = [f"{part}" for option in options.items() for part in option]
        command = [sys.executable, "-m", "pipelines", "season", *told]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if ended.returncode:
        raise IntegrityError(
            f"The season of seed {seed} failed, so nothing is told.\n{ended.stderr}"
        )
    figures = json.loads(ended.stdout.splitlines()[-1])["scorecard"]["broadcast"]
    return {name: figures[name] for name in FIGURES}
