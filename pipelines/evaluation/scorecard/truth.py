"""Expected results of pairs by the truth of a simulated market: expectations, not draws."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.evaluation.scorecard.market import DayMarket
from pipelines.pairs.valuation import PRODUCT_TERMS, value_sql
from pipelines.simulate.outcomes.ground_truth import PairTruth, funding_probability
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.truth import (
    expected_pair_truth,
    lead_positions,
    leads_on,
    pair_truth,
    product_positions,
)

SHUFFLE_SEED = 2_026
"""Seed of the negative control; with the day it gives the permutation of the truth."""


class DayTruth:
    """The truth of a day's pairs.

    A lead or product that is unknown to the simulated market has probability 0: its number was
    corrupted on the way, and no institution finds the person.
    """

    def __init__(self, market: DayMarket, simulated: SimulatedMarket):
        lead_id, product_id = (
            np.asarray(table[name].to_pylist(), np.str_)
            for table, name in ((market.leads, "lead_id"), (market.products, "product_id"))
        )
        self._simulated, self._leads = simulated, leads_on(simulated, market.day)
        self._lead = lead_positions(self._leads, lead_id)[market.lead]
        self._product = product_positions(simulated, product_id)[market.product]

    def as_only_offers(self) -> PairTruth:
        """Return the truth of every pair as if it were its lead's only offer."""
        return self._truth_of(np.arange(self._lead.size), None)

    def as_columns_show(self) -> PairTruth:
        """Return the truth of every pair, averaged over the traits that no column shows."""

        def expect(known: IntArray) -> PairTruth:
            lead, product = self._lead[known], self._product[known]
            return expected_pair_truth(self._simulated, self._leads, lead, product)

        return self._fill_unknown(np.arange(self._lead.size), expect)

    def as_ranked_offers(self, rows: IntArray, rank: IntArray) -> PairTruth:
        """Return the truth of the pairs `rows` if they are all that their leads are shown.

        Args:
            rows: Positions of the pairs.
            rank: Rank of each pair among its lead's offers, from 1.
        """
        return self._truth_of(rows, rank)

    def _truth_of(self, rows: IntArray, rank: IntArray | None) -> PairTruth:
        is_known = self._is_known(rows)

        def compute(known: IntArray) -> PairTruth:
            lead, product = self._lead[known], self._product[known]
            ranks = None if rank is None else rank[is_known]
            return pair_truth(self._simulated, self._leads, lead, product, ranks)

        return self._fill_unknown(rows, compute)

    def _is_known(self, rows: IntArray) -> BoolArray:
        return (self._lead[rows] >= 0) & (self._product[rows] >= 0)

    def _fill_unknown(self, rows: IntArray, compute: Callable[[IntArray], PairTruth]) -> PairTruth:
        """Return what `compute` returns for the known pairs of `rows`, and zeros for others."""
        is_known = self._is_known(rows)
        truth = compute(rows[is_known])
        if is_known.all():
            return truth
        columns = {name: np.zeros(rows.size, column.dtype) for name, column in vars(truth).items()}
        for name, column in vars(truth).items():
            columns[name][is_known] = column
        return PairTruth(**columns)


class ShuffledTruth(DayTruth):
    """The truth permuted among the day's pairs, so that features carry no information on it.

    A negative control: a policy that still does better than a broadcast does so by an artefact of
    the measurement.
    """

    def __init__(self, market: DayMarket, simulated: SimulatedMarket):
        super().__init__(market, simulated)
        random = np.random.default_rng([SHUFFLE_SEED, market.day.toordinal()])
        self._shuffled = _take(super().as_only_offers(), random.permutation(market.lead.size))
        self._pair_lead = market.lead

    def as_only_offers(self) -> PairTruth:
        """Return the permuted truth of every pair."""
        return self._shuffled

    def as_columns_show(self) -> PairTruth:
        """Return the averages over all pairs: the columns of a pair say nothing of its truth."""
        true, size = self._shuffled, self._pair_lead.size
        funded = true.p_approve * true.p_take
        lent = funded * true.amount
        columns = {"p_approve": true.p_approve, "p_take": funded, "amount": lent}
        columns |= {"p_default": lent * true.p_default, "apr": lent * true.apr}
        sums = {name: float(column.sum()) for name, column in columns.items()}
        divisors = {"p_approve": float(size), "p_take": sums["p_approve"]}
        divisors |= {"amount": sums["p_take"]}
        means = {
            name: np.full(size, total / max(divisors.get(name, sums["amount"]), 1e-12))
            for name, total in sums.items()
        }
        return replace(true, **means, p_fund=means["p_take"])

    def as_ranked_offers(self, rows: IntArray, rank: IntArray) -> PairTruth:
        """Return the permuted truth of the pairs `rows`; a lead still takes one loan at most."""
        offers = replace(_take(self._shuffled, rows), lead=self._pair_lead[rows], rank=rank)
        return replace(offers, p_fund=funding_probability(offers))


def _take(truth: PairTruth, rows: IntArray) -> PairTruth:
    return PairTruth(**{name: column[rows] for name, column in vars(truth).items()})


@dataclass(frozen=True)
class PairValues:
    """The expected results of pairs: money in the base currency, one number a pair."""

    spend: FloatArray
    """Fee in the currency of the product, which its budget is in."""
    revenue: FloatArray
    """Fee in the base currency."""
    benefit: FloatArray
    """Of the person."""
    margin: FloatArray
    """Of the institution, before the fee."""
    value: FloatArray
    """By the weights of the value policy."""
    p_approve: FloatArray
    p_funded: FloatArray
    """Probability of approval and take-up."""

    @property
    def surplus(self) -> FloatArray:
        """Return benefit + margin: the fee is a transfer, and the leads are paid for either way."""
        return np.round(self.benefit + self.margin, 4)

    def weighted(self, person: float, institution: float, platform: float) -> FloatArray:
        """Return the value by other weights."""
        net = institution * (self.margin - self.revenue)
        return np.round(person * self.benefit + net + platform * self.revenue, 4)


def value_pairs(
    connection: duckdb.DuckDBPyConnection, market: DayMarket, rows: IntArray, truth: PairTruth
) -> PairValues:
    """Return the values of the pairs `rows`.

    The amount is the one granted, not the one requested.
    """
    lead, product = pa.array(market.lead[rows]), pa.array(market.product[rows])
    columns = {name: market.products[name].take(product) for name in PRODUCT_TERMS}
    columns |= {
        "pair_row": pa.array(np.arange(rows.size)),
        "term_months": market.leads["term_months"].take(lead),
        "cost_per_lead": pa.nulls(rows.size, pa.float64()),  # no part of a pair's value
        "amount": pa.array(truth.amount),
        "pd": pa.array(truth.p_default),
        "p_approve": pa.array(truth.p_approve),
        "p_fund": pa.array(truth.p_fund),
        "suggested_apr": pa.array(truth.apr),
    }
    names = ("expected_spend", "revenue", "person_benefit", "institution_margin", "expected_value")
    connection.register("pairs_by_truth", pa.table(columns))
    found = connection.sql(
        f"select {', '.join(names)} from ({value_sql('pairs_by_truth', policy.value())}) "
        "order by pair_row"
    ).fetchnumpy()
    connection.unregister("pairs_by_truth")
    spend, revenue, benefit, margin, value = (np.asarray(found[name], np.float64) for name in names)
    return PairValues(
        spend=spend,
        revenue=revenue,
        benefit=benefit,
        margin=margin,
        value=value,
        p_approve=truth.p_approve,
        p_funded=truth.p_approve * truth.p_fund,
    )
