"""What each policy shows on a day and what that brings by the truth: computed once and kept.

A day of 2,000 leads and 500 institutions takes some seconds, most of them for pairs that no policy
shows. So what is shown is kept under `scorecards/`, with the hashes of all it was computed from.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.arrays import FloatArray, IntArray
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
from pipelines.evaluation.scorecard.policies import shown_by
from pipelines.evaluation.scorecard.truth import TruthOfDay, valued
from pipelines.simulate.truth import load_simulated_market

WORLD = "truth/world.json"


@dataclass(frozen=True)
class DayOffers:
    """What every policy shows on a day."""

    day: date
    quota: int
    """Leads that all open products together would take."""
    has_best: pa.Table
    """`channel_id`, `lead_id` of the leads that some pair is worth showing to."""
    offers: pa.Table
    """One row per policy and pair shown: `policy`, the keys, `rank`; by the truth `p_approve`,
    `p_fund` (the lead's better-ranked offers considered), `p_default`, `apr`, `amount` (granted),
    `revenue`, and as if it were the lead's only offer `value` and `is_best` of its lead's pairs.
    Money in the base currency."""


def offers_of_day(settings: Settings, day: date) -> DayOffers:
    """Return what every policy shows on `day`; computed only if it isn't kept yet.

    Raises:
        InputMissing: The day isn't matched, or the home was not simulated.
    """
    folder = settings.day_folder(settings.scorecards, day)
    made_from = _made_from(settings, day)
    try:
        kept = read_manifest(folder)
    except InputMissing:
        kept = {}
    if any(kept.get(name) != value for name, value in made_from.items()):
        _keep(settings, compute(settings, day), made_from)
        kept = read_manifest(folder)
    return DayOffers(
        day=day,
        quota=kept["quota"],
        has_best=pq.read_table(folder / "has_best.parquet", partitioning=None),
        offers=pq.read_table(folder / "offers.parquet", partitioning=None),
    )


def _made_from(settings: Settings, day: date) -> dict[str, Any]:
    load_simulated_market(settings)  # raises an error where there is none
    read = (settings.day_folder(root, day) for root in (settings.marts, settings.matches))
    return {
        "inputs": hash_inputs(*read, home=settings.home) | {WORLD: sha256(settings.home / WORLD)},
        "code_version": code_version(),
    }


def _keep(settings: Settings, found: DayOffers, made_from: dict[str, Any]) -> None:
    facts = made_from | {"quota": found.quota}
    with publishing(settings.day_folder(settings.scorecards, found.day), facts) as folder:
        write_parquet(found.has_best, folder / "has_best.parquet")
        write_parquet(found.offers, folder / "offers.parquet")


def compute(settings: Settings, day: date, truth: type[TruthOfDay] = TruthOfDay) -> DayOffers:
    """Return what every policy shows on `day`, computed anew.

    Value is a pair's own: the plan worth most is only defined where a pair is worth the same
    whatever else is shown. So `value`, the best pair and the oracle's plan take each pair as if it
    were its lead's only offer; then no policy's value exceeds the oracle's. What is approved,
    funded and paid follows from the offers as they are shown.
    """
    world = load_simulated_market(settings)
    with connect(settings) as connection:
        market = load_market(connection, settings, day)
        return _offers(connection, market, truth(market, world))


def _offers(
    connection: duckdb.DuckDBPyConnection, market: DayMarket, truth: TruthOfDay
) -> DayOffers:
    every = np.arange(market.lead.size)
    _, value = valued(connection, market, every, truth.alone())
    is_best = _best_of_lead(market.lead, value)
    keys = ["channel_id", "lead_id"]
    tables = []
    for name, rank in shown_by(market, value).items():
        rows = np.flatnonzero(rank)
        offered = truth.of_offers(rows, rank[rows])
        revenue, _ = valued(connection, market, rows, offered)
        rate = market.of_product("exchange_rate")[rows]
        columns: dict[str, Any] = {
            "policy": pa.array([name] * rows.size, pa.string()),
            "rank": rank[rows],
            "p_approve": offered.p_approve,
            "p_fund": offered.p_fund,
            "p_default": offered.p_default,
            "apr": offered.apr,
            "amount": offered.amount * rate,
            "revenue": revenue,
            "value": value[rows],
            "is_best": is_best[rows],
        }
        lead, product = pa.array(market.lead[rows]), pa.array(market.product[rows])
        columns |= {key: market.leads[key].take(lead) for key in keys}
        columns |= {
            key: market.products[key].take(product) for key in ("institution_id", "product_id")
        }
        tables.append(pa.table(columns))
    return DayOffers(
        day=market.day,
        quota=int(market.quota.sum()),
        has_best=market.leads.select(keys).take(pa.array(market.lead[is_best])),
        offers=pa.concat_tables(tables),
    )


def _best_of_lead(lead: IntArray, value: FloatArray) -> np.ndarray:
    """Return which pair is the one worth most of its lead, if that is worth anything."""
    order = np.lexsort((-value, lead))
    is_first = np.diff(lead[order], prepend=-1) != 0
    is_best = np.zeros(lead.size, np.bool_)
    is_best[order[is_first]] = True
    return is_best & (value > 0)
