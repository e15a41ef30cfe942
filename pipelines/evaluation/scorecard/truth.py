"""What pairs bring by the truth of a simulated market: expectations, not draws."""

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.evaluation.scorecard.market import DayMarket
from pipelines.pairs.valuation import value_sql
from pipelines.simulate.outcomes.ground_truth import PairTruth, funding_probability
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.truth import lead_positions, leads_on, pair_truth, product_positions

SHUFFLED_BY = 2_026
"""Seed of the control; with the day it gives the order in which the truth is dealt out."""


class TruthOfDay:
    """The truth of a day's pairs, however they are shown.

    A lead or product that the world doesn't know has no chance: its number was spoilt on the way,
    and no institution finds the person.
    """

    def __init__(self, market: DayMarket, world: SimulatedMarket):
        lead_id, product_id = (
            np.asarray(table[name].to_pylist(), np.str_)
            for table, name in ((market.leads, "lead_id"), (market.products, "product_id"))
        )
        self._world, self._asked = world, leads_on(world, market.day)
        self._lead = lead_positions(self._asked, lead_id)[market.lead]
        self._product = product_positions(world, product_id)[market.product]

    def alone(self) -> PairTruth:
        """Return the truth of every pair as if it were its lead's only offer."""
        return self._of(np.arange(self._lead.size), None)

    def of_offers(self, rows: IntArray, rank: IntArray) -> PairTruth:
        """Return the truth of the pairs `rows`, where they are all that their leads are shown.

        Args:
            rows: Which pairs.
            rank: At which place the lead of each sees it, from 1.
        """
        return self._of(rows, rank)

    def _of(self, rows: IntArray, rank: IntArray | None) -> PairTruth:
        is_known = (self._lead[rows] >= 0) & (self._product[rows] >= 0)
        known = rows[is_known]
        rank = None if rank is None else rank[is_known]
        found = pair_truth(self._world, self._asked, self._lead[known], self._product[known], rank)
        if is_known.all():
            return found
        columns = {name: np.zeros(rows.size, column.dtype) for name, column in vars(found).items()}
        for name, column in vars(found).items():
            columns[name][is_known] = column
        return PairTruth(**columns)


class ShuffledTruth(TruthOfDay):
    """The truth, dealt out anew among the day's pairs: what is known of a pair no longer tells it.

    A control: who still does better than a broadcast under it does so by the way of counting.
    """

    def __init__(self, market: DayMarket, world: SimulatedMarket):
        super().__init__(market, world)
        random = np.random.default_rng([SHUFFLED_BY, market.day.toordinal()])
        self._dealt = _taken(super().alone(), random.permutation(market.lead.size))
        self._dealt_to = market.lead

    def alone(self) -> PairTruth:
        """Return what was dealt to every pair."""
        return self._dealt

    def of_offers(self, rows: IntArray, rank: IntArray) -> PairTruth:
        """Return what was dealt to the pairs `rows`; a lead still takes one loan at most."""
        offers = replace(_taken(self._dealt, rows), lead=self._dealt_to[rows], rank=rank)
        return replace(offers, p_fund=funding_probability(offers))


def _taken(truth: PairTruth, rows: IntArray) -> PairTruth:
    return PairTruth(**{name: column[rows] for name, column in vars(truth).items()})


def valued(
    connection: duckdb.DuckDBPyConnection, market: DayMarket, rows: IntArray, truth: PairTruth
) -> tuple[FloatArray, FloatArray]:
    """Return the revenue and the value of the pairs `rows`, in the base currency.

    The amount that counts is the one granted, not the one asked for.
    """
    lead, product = pa.array(market.lead[rows]), pa.array(market.product[rows])
    terms = ["price_model", "price", "amount_max", "term_max_months", "reference_apr"]
    terms += ["exchange_rate"]
    columns = {name: market.products[name].take(product) for name in terms}
    columns |= {
        "place": pa.array(np.arange(rows.size)),
        "term_months": market.leads["term_months"].take(lead),
        "cost_per_lead": pa.nulls(rows.size, pa.float64()),  # no part of what a pair is worth
        "amount": pa.array(truth.amount),
        "pd": pa.array(truth.p_default),
        "p_approve": pa.array(truth.p_approve),
        "p_fund": pa.array(truth.p_fund),
        "suggested_apr": pa.array(truth.apr),
    }
    connection.register("by_truth", pa.table(columns))
    found = connection.sql(
        f"select revenue, expected_value from ({value_sql('by_truth', policy.value())}) "
        "order by place"
    ).fetchnumpy()
    connection.unregister("by_truth")
    revenue, value = (np.asarray(found[name], np.float64) for name in ("revenue", "expected_value"))
    return revenue, value
