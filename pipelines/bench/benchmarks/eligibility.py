"""Measure how long the hard rules take for a large day, and hold them against a row-by-row check.

Leads, products and rules are drawn at random, published as marts in a home of their own, and judged
by set as the daily job does. Then single pairs are judged one rule at a time by `pairs.verdict`,
which knows nothing of sets; any difference is counted.
"""

import argparse
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.bench.fixtures.home import own_home
from pipelines.bench.fixtures.market import DAY, write_market
from pipelines.core.arrays import IntArray
from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.bitsets import unpack
from pipelines.pairs.eligibility.engine import STEPS, Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.reference_rules import check_pair

KIB = 1024
"""Bytes in the unit in which Linux tells the most memory that was taken."""


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return what judging a day took and how far it agrees with a row-by-row check.

    Returns:
        `seconds` (from the marts on disk to eligible pairs and every lead's funnel), `peak_mb` (of
        the whole process, drawing the market included), `pairs` (that remain), `possible`,
        `checked` and `differences` (single pairs judged one rule at a time; a pair differs if
        either its verdict or the step at which it fell does).

    Raises:
        UsageError: A market without leads or products.
    """
    asked = _parser().parse_args(options)
    if min(asked.leads, asked.products) < 1 or min(asked.rules, asked.check) < 0:
        raise UsageError("--leads and --products are at least 1. Nothing was measured.")
    with own_home(settings) as home:
        _say("drawing leads, products and rules")
        write_market(home, asked.leads, asked.products, asked.rules, asked.seed)
        _say("judging")
        began = time.perf_counter()
        marts = home.day_folder(home.marts, DAY)
        with connect(home) as connection:
            load_leads(connection, marts)
            rules = load_products(connection, marts, DAY)
            judged = find_eligible_pairs(connection, rules, DAY)
            pairs = int(judged.pairs_per_lead.sum())
            seconds = time.perf_counter() - began
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1_000_000
            _say("checking pairs one by one")
            checked, differences = _differences(connection, judged, marts, asked)
    return {
        "leads": asked.leads,
        "products": asked.products,
        "rules": asked.rules,
        "seed": asked.seed,
        "threads": settings.threads,
        "possible": asked.leads * asked.products,
        "pairs": pairs,
        "seconds": round(seconds, 2),
        "peak_mb": round(peak),
        "checked": checked,
        "differences": differences,
    }


def _differences(
    connection: duckdb.DuckDBPyConnection,
    judged: Eligibility,
    marts: Path,
    asked: argparse.Namespace,
) -> tuple[int, int]:
    """Return how many single pairs were judged, and of how many the two ways disagree.

    Half of the pairs are those of some leads with every product, so that the leads' funnels are
    held against a count by hand, too; the other half is drawn from everywhere.
    """
    random = np.random.default_rng(asked.seed)
    whole = random.choice(asked.leads, min(asked.leads, asked.check // 2 // asked.products))
    lead, product = (
        random.integers(0, limit, asked.check - len(whole) * asked.products)
        for limit in (asked.leads, asked.products)
    )
    one_by_one = _OneByOne(connection, marts, np.union1d(whole, lead))
    found = unpack(judged.bitsets[lead], asked.products)[np.arange(len(lead)), product]
    by_hand = [one_by_one.falls_at(*pair) == len(STEPS) for pair in zip(lead, product, strict=True)]
    differences = int(np.count_nonzero(found != np.array(by_hand, np.bool_)))
    for row in whole:
        falls = np.array([one_by_one.falls_at(row, place) for place in range(asked.products)])
        set_of_lead = unpack(judged.bitsets[row : row + 1], asked.products)[0]
        differs = set_of_lead != (falls == len(STEPS))
        counts = [int(np.count_nonzero(falls > step)) for step in range(len(STEPS))]
        agrees = counts == [int(judged.remaining[step][row]) for step in STEPS]
        differences += int(np.count_nonzero(differs)) if agrees else asked.products
    return asked.check, differences


class _OneByOne:
    """Judges pairs one rule at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, marts: Path, leads: IntArray):
        connection.register("drawn", pa.table({"lead_row": pa.array(leads, pa.int32())}))
        rows = connection.sql("from leads semi join drawn using (lead_row)").to_arrow_table()
        self._leads = {row["lead_row"]: row for row in rows.to_pylist()}
        self._products = (
            connection.sql("from products order by product_row").to_arrow_table().to_pylist()
        )
        self._rules: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for rule in pq.read_table(marts / "product_rules.parquet").to_pylist():
            self._rules[rule["institution_id"], rule["product_id"]].append(rule)
        self._every = policy.consent(DAY).every_institution

    def falls_at(self, lead: int, product: int) -> int:
        """Return the number of the step at which a pair falls; past the last if it stands."""
        described = self._products[product]
        rules = self._rules[described["institution_id"], described["product_id"]]
        judged = check_pair(self._leads[int(lead)], described, rules, every_institution=self._every)
        return min(
            (STEPS.index(each.step) for each in judged if not each.is_met), default=len(STEPS)
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines bench eligibility", description=__doc__
    )
    parser.add_argument("--leads", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--products", type=int, default=1_000, metavar="N")
    parser.add_argument("--rules", type=int, default=5, metavar="N", help="of each product")
    parser.add_argument("--check", type=int, default=100_000, metavar="N", help="pairs, one by one")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _say(words: str) -> None:
    """Tell whoever watches a terminal what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"bench eligibility: {words}\n")
