"""The hard rules on a large day, compared with a check of single pairs, rule by rule.

Random leads, products and rules are published as marts of a temporary home, and evaluated as the
daily job does, by bitsets. Then single pairs are evaluated by `reference_rules`, which uses no
bitsets; every difference is counted.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import click
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.bench.benchmarks.random_market import DAY, write_market
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    peak_memory_mb,
    seed_option,
    show_progress,
    temporary_home,
)
from pipelines.core.arrays import IntArray
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.bitsets import unpack
from pipelines.pairs.eligibility.engine import STEPS, Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.reference_rules import check_pair


class Size(NamedTuple):
    """Size of the random market, and of the check."""

    leads: int
    products: int
    rules: int
    check: int
    seed: int


@click.command("eligibility")
@count_option("--leads", 1_000_000, "Number of leads.")
@count_option("--products", 1_000, "Number of products.")
@count_option("--rules", 5, "Rules of each product.", least=0)
@count_option("--check", 100_000, "Single pairs to check.", least=0)
@seed_option
@click.pass_obj
def command(settings: Settings, /, **options: int) -> Figures:
    """Measure the hard rules on a large day, and check single pairs.

    The figures have `seconds` (from marts on disk to eligible pairs and the funnel of every lead),
    `peak_mb` (of the process, the random market included), `pairs` (eligible), `possible`,
    `checked` and `differences` (single pairs with another result or another step of exclusion).
    """
    size = Size(**options)
    with temporary_home(settings) as home:
        show_progress("eligibility", "generating leads, products and rules")
        write_market(home, size.leads, size.products, size.rules, size.seed)
        show_progress("eligibility", "finding eligible pairs")
        stopwatch = Stopwatch()
        marts = home.day_folder(home.marts, DAY)
        with connect(home) as connection:
            load_leads(connection, marts)
            rules = load_products(connection, marts, DAY)
            eligibility = find_eligible_pairs(connection, rules, DAY)
            pairs = int(eligibility.pairs_per_lead.sum())
            seconds, peak_mb = stopwatch.seconds, peak_memory_mb()
            show_progress("eligibility", "checking single pairs")
            differences = _count_differences(connection, eligibility, marts, size)
    return {
        "leads": size.leads,
        "products": size.products,
        "rules": size.rules,
        "seed": size.seed,
        "threads": settings.threads,
        "possible": size.leads * size.products,
        "pairs": pairs,
        "seconds": round(seconds, 2),
        "peak_mb": peak_mb,
        "checked": size.check,
        "differences": differences,
    }


def _count_differences(
    connection: duckdb.DuckDBPyConnection, eligibility: Eligibility, marts: Path, size: Size
) -> int:
    """Return the number of checked pairs for which the two methods differ.

    Half of the pairs join some leads with every product, so that the funnels of these leads
    are checked too; the other half are random pairs.
    """
    random = np.random.default_rng(size.seed)
    whole = random.choice(size.leads, min(size.leads, size.check // 2 // size.products))
    lead, product = (
        random.integers(0, limit, size.check - len(whole) * size.products)
        for limit in (size.leads, size.products)
    )
    reference = _ReferenceCheck(connection, marts, np.union1d(whole, lead))
    by_bitsets = unpack(eligibility.bitsets[lead], size.products)[np.arange(len(lead)), product]
    by_rules = [
        reference.excluded_at(*pair) == len(STEPS) for pair in zip(lead, product, strict=True)
    ]
    differences = int(np.count_nonzero(by_bitsets != np.array(by_rules, np.bool_)))
    for row in whole:
        steps = np.array([reference.excluded_at(row, product) for product in range(size.products)])
        of_lead = unpack(eligibility.bitsets[row : row + 1], size.products)[0]
        is_different = of_lead != (steps == len(STEPS))
        funnel = [int(np.count_nonzero(steps > step)) for step in range(len(STEPS))]
        is_equal = funnel == [int(eligibility.remaining[step][row]) for step in STEPS]
        differences += int(np.count_nonzero(is_different)) if is_equal else size.products
    return differences


class _ReferenceCheck:
    """Evaluates single pairs, one rule at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, marts: Path, leads: IntArray):
        connection.register("checked", pa.table({"lead_row": pa.array(leads, pa.int32())}))
        rows = connection.sql("from leads semi join checked using (lead_row)").to_arrow_table()
        self._leads = {row["lead_row"]: row for row in rows.to_pylist()}
        products = connection.sql("from products order by product_row").to_arrow_table()
        self._products = products.to_pylist()
        self._rules: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for rule in pq.read_table(marts / "product_rules.parquet").to_pylist():
            self._rules[rule["institution_id"], rule["product_id"]].append(rule)
        self._every_institution = policy.consent(DAY).every_institution

    def excluded_at(self, lead: int, product: int) -> int:
        """Return the step that excludes a pair, by number; past the last for an eligible pair."""
        terms = self._products[product]
        rules = self._rules[terms["institution_id"], terms["product_id"]]
        checks = check_pair(
            self._leads[int(lead)], terms, rules, every_institution=self._every_institution
        )
        return min(
            (STEPS.index(check.step) for check in checks if not check.is_met), default=len(STEPS)
        )
