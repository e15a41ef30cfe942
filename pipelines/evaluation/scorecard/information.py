"""The value of perfect information of a day: what the plan would gain by knowing one estimate.

Each plan is the best one under quotas, budgets and guarantees by the estimates of the published
pairs, of which one is replaced by what all columns together can tell of the truth (Howard 1966,
Information value theory). So the row that gains most names the estimate that costs most. Gains do
not add up: who knows the approvals chooses other pairs, whose other estimates matter. A day of many
pairs is represented as in the frontier. Pairs that a prefilter left out have no estimate and are in
no plan but the attainable one.
"""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.core.arrays import FloatArray
from pipelines.core.database import connect, run_query
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.market import DayMarket, load_market, sample_market
from pipelines.evaluation.scorecard.policies import allocate_optimally
from pipelines.evaluation.scorecard.truth import DayTruth, value_pairs
from pipelines.simulate.outcomes.ground_truth import PairTruth
from pipelines.simulate.truth import load_simulated_market

SQL = Path(__file__).parent / "sql"
MAX_PAIRS = 100_000
SEED = 21
ESTIMATES = {
    "approval": ("p_approve",),
    "take-up": ("p_take", "p_fund"),
    "default": ("p_default",),
    "rate": ("apr",),
    "amount": ("amount",),
}
"""Estimate -> its columns. The amount is the one granted; the estimate is the one requested."""


@dataclass(frozen=True)
class InformedPlan:
    """A plan by the estimates, of which one is known."""

    known: str
    """Name of the estimate; `nothing`, or `all` for the attainable plan."""
    share: float
    """True surplus, of the attainable plan's."""


@dataclass(frozen=True)
class ValueOfInformation:
    """The plans of a day, and the share of its leads that they are computed from."""

    day: date
    share: float
    plans: tuple[InformedPlan, ...]


def compute_value_of_information(settings: Settings, day: date) -> ValueOfInformation | None:
    """Return what each estimate costs the plan of `day`; None if its pairs are not kept any more.

    Raises:
        InputMissing: The day isn't matched, or the home was not simulated.
    """
    if not _pairs_file(settings, day).is_file():
        return None
    simulated = load_simulated_market(settings)
    with connect(settings) as connection:
        market, every = sample_market(load_market(connection, settings, day), MAX_PAIRS)
        truth = DayTruth(market, simulated)
        shown = truth.as_columns_show()
        estimated = _load_estimates(connection, settings, market, shown)
        known = {"nothing": estimated}
        for name, columns in ESTIMATES.items():
            known[name] = replace(estimated, **{each: getattr(shown, each) for each in columns})
        known["all"] = shown
        every_pair = np.arange(market.lead.size)
        surplus = value_pairs(connection, market, every_pair, truth.as_only_offers()).surplus
        keys = np.random.default_rng([SEED, day.toordinal()]).random(market.lead.size)
        found = {}
        for name, expected in known.items():
            values = value_pairs(connection, market, every_pair, expected)
            rank = allocate_optimally(market, values, values.surplus, keys, with_guarantees=True)
            found[name] = float(surplus[rank > 0].sum())
    attainable = max(found["all"], 1e-9)
    plans = tuple(InformedPlan(name, total / attainable) for name, total in found.items())
    return ValueOfInformation(day, 1 / every, plans)


def _pairs_file(settings: Settings, day: date) -> Path:
    return settings.day_folder(settings.pairs, day) / "pairs.parquet"


def _load_estimates(
    connection: duckdb.DuckDBPyConnection, settings: Settings, market: DayMarket, truth: PairTruth
) -> PairTruth:
    """Return the published estimates of each pair; one without a score has no chance at all.

    Args:
        connection: A connection.
        settings: Settings of the home.
        market: The pairs.
        truth: Of the pairs: names them, and completes pairs without a score.
    """
    names = ("channel_id", "lead_id", "institution_id", "product_id")
    columns = {
        name: table[name].take(pa.array(rows))
        for table, rows, own in (
            (market.leads, market.lead, names[:2]),
            (market.products, market.product, names[2:]),
        )
        for name in own
    }
    columns["pair_row"] = pa.array(np.arange(market.lead.size))
    connection.register("market_pairs", pa.table(columns))
    file = str(_pairs_file(settings, market.day))
    scored = run_query(connection, SQL / "estimates.sql", {"pairs": file}).fetchnumpy()
    connection.unregister("market_pairs")

    def fill(name: str, missing: FloatArray | float) -> FloatArray:
        column = np.ma.filled(np.ma.asarray(scored[name], np.float64), np.nan)
        return np.where(np.isnan(column), missing, column)

    p_fund = fill("p_fund", 0.0)
    return replace(
        truth,
        p_approve=fill("p_approve", 0.0),
        p_take=p_fund,
        p_fund=p_fund,
        p_default=fill("pd", 1.0),
        apr=fill("suggested_apr", truth.apr),
        amount=fill("amount", truth.amount),
    )
