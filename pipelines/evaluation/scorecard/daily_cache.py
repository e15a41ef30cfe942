"""The offers of every policy on a day with their true results: computed once, then read again.

A day of 2,000 leads and 500 institutions takes some seconds, most of them for pairs that no policy
shows. So the offers are stored under `scorecards/`, with the hashes of everything they depend on.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import (
    code_version,
    hash_inputs,
    publishing,
    read_manifest,
    sha256,
    write_parquet,
)
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.market import DayMarket, load_market
from pipelines.evaluation.scorecard.policies import rank_by_policy
from pipelines.evaluation.scorecard.truth import DayTruth, value_pairs
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.truth import load_simulated_market

WORLD = "truth/world.json"


@dataclass(frozen=True)
class DayOffers:
    """The offers of every policy on a day."""

    day: date
    quota: int
    """Sum of the quotas of all open products."""
    has_best: pa.Table
    """`channel_id`, `lead_id` of the leads with a pair of positive value."""
    offers: pa.Table
    """One row per policy, or bound, and pair shown: `policy`, the keys, `rank`; by the truth
    `p_approve`, `p_fund` (given the lead's better-ranked offers), `p_default`, `apr`, `amount`
    (granted), `revenue`, `surplus`, and as if it were the lead's only offer `benefit`,
    `only_surplus`, `value` and `is_best` of its lead's pairs. Money in the base currency."""
    lenders: pa.Table
    """`institution_id` and `quota` of every institution with an open product."""


def load_offers(settings: Settings, day: date) -> DayOffers:
    """Return the offers of every policy on `day`; computed only if nothing current is stored.

    Raises:
        InputMissing: The day isn't matched, or the home was not simulated.
    """
    folder = settings.day_folder(settings.scorecards, day)
    dependencies = _dependencies(settings, day)
    try:
        manifest = read_manifest(folder)
    except InputMissing:
        manifest = {}
    if any(manifest.get(name) != value for name, value in dependencies.items()):
        _store(settings, compute_offers(settings, day), dependencies)
        manifest = read_manifest(folder)
    return DayOffers(
        day=day,
        quota=manifest["quota"],
        has_best=pq.read_table(folder / "has_best.parquet", partitioning=None),
        offers=pq.read_table(folder / "offers.parquet", partitioning=None),
        lenders=pq.read_table(folder / "lenders.parquet", partitioning=None),
    )


def _dependencies(settings: Settings, day: date) -> dict[str, Any]:
    load_simulated_market(settings)  # raises an error where there is none
    read = (settings.day_folder(root, day) for root in (settings.marts, settings.matches))
    return {
        "inputs": hash_inputs(*read, home=settings.home) | {WORLD: sha256(settings.home / WORLD)},
        "code_version": code_version(),
    }


def _store(settings: Settings, found: DayOffers, dependencies: dict[str, Any]) -> None:
    facts = dependencies | {"quota": found.quota}
    with publishing(settings.day_folder(settings.scorecards, found.day), facts) as folder:
        write_parquet(found.has_best, folder / "has_best.parquet")
        write_parquet(found.offers, folder / "offers.parquet")
        write_parquet(found.lenders, folder / "lenders.parquet")


def compute_offers(
    settings: Settings,
    day: date,
    truth: type[DayTruth] = DayTruth,
    simulated: SimulatedMarket | None = None,
) -> DayOffers:
    """Compute the offers of every policy on `day`; by default in the home's simulated market.

    A plan of the greatest surplus is only defined if the surplus of a pair does not depend on the
    other offers. So the value, the best pair, the oracle's plan and the shares of a plan's surplus
    take each pair as its lead's only offer; then no policy exceeds the oracle. Approvals, funded
    loans, payments and the surplus in money follow from the offers as they are shown.
    """
    simulated = simulated or load_simulated_market(settings)
    with connect(settings) as connection:
        market = load_market(connection, settings, day)
        return _compute(connection, market, truth(market, simulated))


def _compute(
    connection: duckdb.DuckDBPyConnection, market: DayMarket, truth: DayTruth
) -> DayOffers:
    all_pairs = np.arange(market.lead.size)
    alone = value_pairs(connection, market, all_pairs, truth.as_only_offers())
    by_columns = value_pairs(connection, market, all_pairs, truth.as_columns_show())
    is_best = _is_best_of_lead(market.lead, alone.value)
    lead_keys = ["channel_id", "lead_id"]
    tables = []
    for name, rank in rank_by_policy(market, alone, by_columns).items():
        rows = np.flatnonzero(rank)
        offered = truth.as_ranked_offers(rows, rank[rows])
        shown = value_pairs(connection, market, rows, offered)
        rate = market.product_column("exchange_rate")[rows]
        columns: dict[str, Any] = {
            "policy": pa.array([name] * rows.size, pa.string()),
            "rank": rank[rows],
            "p_approve": offered.p_approve,
            "p_fund": offered.p_fund,
            "p_default": offered.p_default,
            "apr": offered.apr,
            "amount": offered.amount * rate,
            "revenue": shown.revenue,
            "surplus": shown.surplus,
            "benefit": alone.benefit[rows],
            "only_surplus": alone.surplus[rows],
            "value": alone.value[rows],
            "is_best": is_best[rows],
        }
        lead, product = pa.array(market.lead[rows]), pa.array(market.product[rows])
        columns |= {key: market.leads[key].take(lead) for key in lead_keys}
        columns |= {
            key: market.products[key].take(product) for key in ("institution_id", "product_id")
        }
        tables.append(pa.table(columns))
    return DayOffers(
        day=market.day,
        quota=int(market.quota.sum()),
        has_best=market.leads.select(lead_keys).take(pa.array(market.lead[is_best])),
        offers=pa.concat_tables(tables),
        lenders=_total_quotas(market),
    )


def _total_quotas(market: DayMarket) -> pa.Table:
    products = pa.table(
        {"institution_id": market.products["institution_id"], "quota": pa.array(market.quota)}
    )
    totals = products.group_by("institution_id").aggregate([("quota", "sum")])
    return totals.rename_columns(["institution_id", "quota"]).sort_by("institution_id")


def _is_best_of_lead(lead: IntArray, value: FloatArray) -> BoolArray:
    """Return for each pair whether it has the highest value of its lead, and a positive one."""
    order = np.lexsort((-value, lead))
    is_first = np.diff(lead[order], prepend=-1) != 0
    is_best = np.zeros(lead.size, np.bool_)
    is_best[order[is_first]] = True
    return is_best & (value > 0)
