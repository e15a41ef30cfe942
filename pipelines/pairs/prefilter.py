"""Prefilter of a large day: select the promising pairs, since the models cannot score them all.

1. Score every lead at a few reference products, and estimate its scores at all others
   (`score_estimates`).
2. Value every eligible pair by these estimates instead of the models, and estimate the shadow
   prices of quotas and guarantees. A pair whose approval is too unlikely for an offer ranks behind
   all others.
3. Rank pairs by their advantage: value after prices, less the value of the offer that the lead
   would give up. Dropping a pair that is far behind costs the plan little.
4. Keep a lead's best few pairs, its share of the others on average, and for each product enough
   pairs to fill its quota several times.

A sample of leads with every pair scored, which nothing is fitted on, measures the loss
(`prefilter_loss`).
"""

from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from expectations.policy_types import Candidates, Guarantees
from models.model_set import ModelSet
from pipelines.allocation.problem import Limit, PairColumns, build_ratio_limit
from pipelines.allocation.relaxation import Relaxation, SolverOptions
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.database import read_query
from pipelines.core.engine.engine import LOCAL, Engine
from pipelines.core.engine.task import Task
from pipelines.core.statistics import logit
from pipelines.pairs.eligibility.bitsets import from_column, pack, to_column
from pipelines.pairs.eligibility.engine import Eligibility, list_pairs, make_pair_table
from pipelines.pairs.eligibility.load_inputs import MAX_PAIR_VALUE
from pipelines.pairs.prefilter_loss import measure_best_offers
from pipelines.pairs.score_estimates import ScoreEstimates, estimate_scores
from pipelines.pairs.scoring import PAIRS_PER_BATCH, score_pairs
from pipelines.pairs.valuation import SQL, least_odds_sql, suggest_apr_sql, value_sql

ESTIMATED_PER_BATCH = 10 * PAIRS_PER_BATCH
"""About how many pairs are valued by estimates together; they need less memory than scored ones."""

RANKED_LEADS = 20_000
"""Leads by which the cutoffs of products are estimated."""
PRICED_LEADS = 5_000
"""The first of them, by which prices are estimated; four times as many lose no less."""

ODDS_MARGIN = 0.8
"""A pair counts as too unlikely for an offer if its estimated chance of approval is below so much
of the least one: estimates are off by about a tenth."""

UNITS = 10_000
"""Integer units of value in one unit of money, in which prices are searched."""


@dataclass(frozen=True)
class Prefiltered:
    """The pairs to score."""

    eligibility: Eligibility
    """With the kept pairs; its funnel counts all eligible pairs."""
    sample: pa.Table | None
    """Every pair of the leads that the loss is measured on: keys, scores, `expected_value`,
    `least_odds`, `is_kept`; None where every pair is kept."""
    facts: dict[str, Any]


def select_promising_pairs(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    eligibility: Eligibility,
    limits: Candidates,
    day: date,
    engine: Engine = LOCAL,
) -> Prefiltered:
    """Return the promising pairs, or all eligible ones if they are at most `max_pairs`.

    Args:
        connection: With `leads` (with `pd`) and `products`.
        model_set: Models that score the sample and the references.
        eligibility: The eligible pairs.
        limits: Numbers of pairs to keep.
        day: The business date.
        engine: Values and ranks the pairs, by portions of leads.
    """
    eligible = int(eligibility.pairs_per_lead.sum())
    if eligible <= limits.max_pairs:
        return Prefiltered(eligibility, None, {})
    sampled = _sample_leads(connection, limits.sampled_leads)
    estimates = estimate_scores(connection, model_set, sampled[::2])
    valuation = EstimatedValues(estimates, _load_least_odds(connection, day))
    prices, cutoffs = _estimate_prices_and_cutoffs(connection, valuation, eligibility, limits)
    task = KeepPromisingPairs(
        coefficients=estimates.with_leads(pa.chunked_array([estimates.pack_leads(0, 0)])),
        prices=prices,
        cutoffs=cutoffs,
        best=_best_per_lead(limits),
    )
    portions = (
        valuation.add_columns(eligibility.select_leads(first, last))
        for first, last in eligibility.split_leads(ESTIMATED_PER_BATCH)
    )
    found = [from_column(part["eligible"]) for part in engine.map(connection, task, portions)]
    kept = replace(
        eligibility, bitsets=np.concatenate([np.zeros_like(eligibility.bitsets[:0]), *found])
    )
    sample = _score_sample(connection, model_set, eligibility, sampled[1::2], kept, day)
    best_offers = measure_best_offers(
        connection, sample.append_column("net_value", sample["expected_value"])
    )
    facts = {
        "eligible": eligible,
        "kept": int(kept.pairs_per_lead.sum()),
        "sampled_leads": len(sampled),
        "loss_with_free_quotas": best_offers.removed_share,
    }
    return Prefiltered(kept, sample, facts)


class OffersOfLeads:
    """The best offers of each lead among its pairs.

    Args:
        lead: Lead code of each pair, in rising order.
        max_offers: Most offers of a lead (K).
    """

    def __init__(self, lead: IntArray, max_offers: int) -> None:
        first = np.flatnonzero(np.diff(lead, prepend=-1))
        pairs = np.diff(first, append=len(lead))
        self._max_offers = max_offers
        self._row = np.repeat(np.arange(len(first)), pairs)
        self._column = np.arange(len(lead)) - np.repeat(first, pairs)
        self._shape = len(first), max(int(pairs.max(initial=0)), max_offers + 1)

    def rank(self, net_value: FloatArray) -> tuple[BoolArray, FloatArray]:
        """Return which pairs are among their lead's K best, and the value that the lead gives up.

        The lead gives up its K-th best offer, or the one after that for its K best offers
        themselves. It gives up nothing while it has fewer offers of positive value. Of equal pairs
        the first ones are the best.
        """
        last, after = self._find_last_offers(net_value)
        is_best = net_value >= last
        number = np.bincount(self._row, weights=is_best, minlength=self._shape[0])
        if (number > self._max_offers).any():
            is_best = self._break_ties(net_value, last)
        return is_best, np.maximum(np.where(is_best, after, last), 0.0)

    def _find_last_offers(self, net_value: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the K-th best of each pair's lead, and the one after it; -inf: there is none."""
        matrix = np.full(self._shape, -np.inf)
        matrix[self._row, self._column] = net_value
        place = self._shape[1] - self._max_offers
        matrix.partition((place - 1, place), axis=1)
        return matrix[self._row, place], matrix[self._row, place - 1]

    def _break_ties(self, net_value: FloatArray, last: FloatArray) -> BoolArray:
        is_above, is_equal = net_value > last, net_value == last
        above = np.bincount(self._row, weights=is_above, minlength=self._shape[0])
        so_far = np.cumsum(is_equal)
        first = np.flatnonzero(self._column == 0)
        before = (so_far[first] - is_equal[first])[self._row]
        return np.asarray(
            is_above | is_equal & (so_far - before <= self._max_offers - above[self._row])
        )


def _best_per_lead(limits: Candidates) -> int:
    """Return how many of its best pairs a lead keeps in any case."""
    return min(policy.value().max_offers_per_lead, limits.per_lead)


def _sample_leads(connection: duckdb.DuckDBPyConnection, leads: int) -> IntArray:
    """Return the `lead_row` of leads by a hash of their keys: a fixed random sample."""
    rows = connection.execute(
        "select lead_row from leads "
        "order by md5_number_lower(concat_ws(chr(31), channel_id, lead_id)), lead_row limit ?",
        [leads],
    ).fetchnumpy()["lead_row"]
    return np.asarray(rows, np.int64)


def _load_least_odds(connection: duckdb.DuckDBPyConnection, day: date) -> FloatArray:
    """Return the least odds of approval that make an offer, by `lead_row`."""
    query = f"select {least_odds_sql(day)} as least_odds from leads order by lead_row"
    return np.asarray(connection.sql(query).fetchnumpy()["least_odds"], np.float64)


@dataclass(frozen=True)
class EstimatedPairs:
    """Pairs with estimated scores, as columns of equal length, by lead and product."""

    lead: IntArray
    product: IntArray
    p_approve: FloatArray
    p_funded: FloatArray
    """Probability of approval and take-up."""
    fee: FloatArray
    value: FloatArray
    """Of a pair that is too unlikely below all others, by how far it is away."""

    def select(self, rows: BoolArray) -> "EstimatedPairs":
        """Return some of the pairs."""
        return EstimatedPairs(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class EstimatedValues:
    """The value of pairs by estimated scores."""

    estimates: ScoreEstimates
    least_odds: FloatArray
    """By lead."""
    first: int = 0
    """`lead_row` of the first lead of `estimates` and `least_odds`."""

    def add_columns(self, leads: pa.Table) -> pa.Table:
        """Return the leads of a portion with their estimates and least odds."""
        first, last = leads["lead_row"][0].as_py(), leads["lead_row"][-1].as_py() + 1
        return leads.append_column(
            "estimates", self.estimates.pack_leads(first, last)
        ).append_column("least_odds", pa.array(self.least_odds[first:last]))

    def estimate(self, connection: duckdb.DuckDBPyConnection, pairs: pa.Table) -> EstimatedPairs:
        """Return the estimates of some pairs, ordered by key.

        Args:
            connection: With `leads` (with `pd`) and `products`.
            pairs: `lead_row` and `product_row`.
        """
        lead, product = (
            pairs[name].to_numpy().astype(np.int64) for name in ("lead_row", "product_row")
        )
        p_approve, p_fund = self.estimates.estimate(lead - self.first, product)
        fee, value = self._value(connection, make_pair_table(lead, product), p_approve, p_fund)
        least = ODDS_MARGIN * self.least_odds[lead - self.first]
        is_unlikely = p_approve < least
        value[is_unlikely] = -MAX_PAIR_VALUE * (1 - p_approve / least)[is_unlikely]
        return EstimatedPairs(lead, product, p_approve, p_approve * p_fund, fee, value)

    def drop_unlikely(self, pairs: pa.Table, least: int) -> pa.Table:
        """Return the pairs without the ones that are too unlikely for an offer.

        A lead with fewer than `least` likely pairs keeps all of its pairs.
        """
        lead, product = (
            pairs[name].to_numpy().astype(np.int64) for name in ("lead_row", "product_row")
        )
        row = lead - self.first
        log_odds = self.estimates.estimate_log_odds("p_approve", row, product)
        with np.errstate(divide="ignore"):  # no least odds: minus infinity
            is_likely = log_odds >= logit(ODDS_MARGIN * self.least_odds)[row]
        likely = np.bincount(row, weights=is_likely, minlength=len(self.least_odds))
        return pairs.filter(pa.array(is_likely | (likely < least)[row]))

    @staticmethod
    def _value(
        connection: duckdb.DuckDBPyConnection,
        pairs: pa.Table,
        p_approve: FloatArray,
        p_fund: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:
        """Return fee and value of each pair."""
        scored = pairs.append_column("p_approve", pa.array(p_approve))
        scored = scored.append_column("p_fund", pa.array(p_fund))
        connection.register("estimated_pairs", scored)
        terms = read_query(SQL / "estimated_terms.sql")
        valued = connection.sql(
            f"""
            select revenue, expected_value
            from ({value_sql(f"({suggest_apr_sql(f'({terms})')})")})
            order by lead_row, product_row
            """
        ).fetchnumpy()
        connection.unregister("estimated_pairs")
        return np.array(valued["revenue"], np.float64), np.array(valued["expected_value"])


@dataclass(frozen=True)
class ShadowPrices:
    """Estimated shadow prices of the limits of each product, and the terms that they hold it to."""

    quota: FloatArray
    approval_rate: FloatArray
    least_approval_rate: FloatArray
    cost_per_funded: FloatArray
    highest_cost_per_funded: FloatArray

    def compute_net_value(self, pairs: EstimatedPairs) -> FloatArray:
        """Return the value of each pair after the prices of what it uses of its product."""
        product = pairs.product
        with np.errstate(invalid="ignore"):  # an impossible price makes no number
            missing_rate = self.least_approval_rate[product] - pairs.p_approve
            excess_fee = pairs.fee - self.highest_cost_per_funded[product] * pairs.p_funded
            net_value = (
                pairs.value
                - self.quota[product]
                - self.approval_rate[product] * missing_rate
                - self.cost_per_funded[product] * excess_fee
            )
        return np.where(np.isnan(net_value), -np.inf, net_value)


@dataclass(frozen=True)
class ProductTerms:
    """What limits the plan of each product, by `product_row`."""

    institution: IntArray
    quota: FloatArray
    highest_cost_per_funded: FloatArray
    """By agreement, in the base currency; NaN: none agreed."""
    is_paid_by_loan: BoolArray
    """The fee of each funded loan is fixed, so no draw of leads makes it cheaper."""


@dataclass(frozen=True)
class KeepPromisingPairs(Task):
    """Selects the promising pairs of a portion of leads: its result has `eligible` alone, the set
    of products that each lead keeps."""

    catalogue: ClassVar[tuple[str, ...]] = ("products",)
    lead_tables: ClassVar[tuple[str, ...]] = ("leads",)

    coefficients: ScoreEstimates
    """Without leads: each portion has its own."""
    prices: ShadowPrices
    cutoffs: FloatArray
    """Least advantage by product."""
    best: int
    """Number of its best pairs that a lead keeps in any case."""

    def run(self, connection: duckdb.DuckDBPyConnection, portion: pa.Table) -> pa.Table:
        """Return the kept products of the leads of `EstimatedValues.add_columns`."""
        first, products = portion["lead_row"][0].as_py(), len(self.cutoffs)
        valuation = EstimatedValues(
            self.coefficients.with_leads(portion["estimates"]),
            np.asarray(portion["least_odds"].to_numpy(), np.float64),
            first,
        )
        possible = valuation.drop_unlikely(list_pairs(portion, products), self.best)
        pairs = valuation.estimate(connection, possible)
        net_value = self.prices.compute_net_value(pairs)
        is_best, given_up = OffersOfLeads(pairs.lead, self.best).rank(net_value)
        is_kept = is_best | (net_value - given_up >= self.cutoffs[pairs.product])
        flags = np.zeros((portion.num_rows, products), np.bool_)
        flags[pairs.lead[is_kept] - first, pairs.product[is_kept]] = True
        return pa.table({"eligible": to_column(pack(flags))})


def estimate_shadow_prices(
    pairs: EstimatedPairs, terms: ProductTerms, guarantees: Guarantees, max_offers: int
) -> ShadowPrices:
    """Return estimates of the prices that the plan of a day will have, from a sample of its leads.

    They minimise the dual function of the sample's plan within quotas, the least approval rate and
    the highest cost per funded loan of each product (`pipelines.matches.guarantees`), by estimated
    scores: the search of the plan itself, without its repair.

    Args:
        pairs: Every eligible pair of the sampled leads.
        terms: Of the products, with the quota for the sampled leads.
        guarantees: Which guarantees hold.
        max_offers: Most offers of a lead.
    """
    count = len(terms.quota)
    number, approved, funded, fees = (
        np.bincount(pairs.product, weights=weights, minlength=count)
        for weights in (None, pairs.p_approve, pairs.p_funded, pairs.fee)
    )
    rate, cost = np.full(count, np.nan), np.full(count, np.nan)
    if guarantees.approval_rate_as_drawn:
        np.divide(approved, number, out=rate, where=number > 0)
    if guarantees.cost_per_funded_as_drawn:
        np.divide(fees, funded, out=cost, where=(funded > 0) & ~terms.is_paid_by_loan)
    cost = np.fmin(cost, terms.highest_cost_per_funded)
    offers = np.flatnonzero((pairs.value > 0) & (pairs.value <= MAX_PAIR_VALUE))
    product = pairs.product[offers]
    limits = (
        Limit("quota", product, np.maximum(np.floor(terms.quota), 1)),
        build_ratio_limit(
            "approval_rate", product, -pairs.p_approve[offers], -np.ones(len(offers)), rate
        ),
        build_ratio_limit(
            "cost_per_funded", product, pairs.fee[offers], pairs.p_funded[offers], cost
        ),
    )
    columns = PairColumns(
        lead=pairs.lead[offers],
        institution=terms.institution[product],
        product=product,
        value=pairs.value[offers],
        tie_break_key=np.zeros(len(offers), np.int64),
    )
    prices = [np.zeros(count)] * len(limits)
    if len(offers):
        search = Relaxation(columns, limits, max_offers, SolverOptions())
        prices = search.search_prices(np.rint(columns.value * UNITS))
    quota, approval, cost_price = (
        price / UNITS * limit.units for price, limit in zip(prices, limits, strict=True)
    )
    return ShadowPrices(quota, approval, np.nan_to_num(rate), cost_price, np.nan_to_num(cost))


def _estimate_prices_and_cutoffs(
    connection: duckdb.DuckDBPyConnection,
    valuation: EstimatedValues,
    eligibility: Eligibility,
    limits: Candidates,
) -> tuple[ShadowPrices, FloatArray]:
    """Return the estimated prices and the least advantage (mostly below 0) by product.

    The cutoff is the same for all products, so that leads keep `per_lead` pairs on average, and
    lower for a product that would not get `quota_times` its quota above it.
    """
    leads = _sample_leads(connection, RANKED_LEADS)
    best, every = _best_per_lead(limits), len(eligibility.bitsets)
    pairs = valuation.estimate(connection, eligibility.select_pairs(leads))
    priced = leads[:PRICED_LEADS]
    prices = estimate_shadow_prices(
        pairs.select(np.isin(pairs.lead, priced)),
        _load_terms(connection, len(priced) / every),
        policy.guarantees(),
        best,
    )
    terms = _load_terms(connection, len(leads) / every)
    net_value = prices.compute_net_value(pairs)
    is_best, given_up = OffersOfLeads(pairs.lead, best).rank(net_value)
    advantage = net_value - given_up
    others = np.sort(advantage[~is_best])[::-1]
    kept_others = max(0, limits.per_lead - best) * len(leads)
    cutoff = others[kept_others] if kept_others < len(others) else -np.inf
    is_offer = is_best & (net_value > 0)
    quota_cutoffs = _cutoffs_of_quotas(pairs.product, advantage, is_offer, terms.quota, limits)
    return prices, np.minimum(cutoff, quota_cutoffs)


def _load_terms(connection: duckdb.DuckDBPyConnection, share: float) -> ProductTerms:
    """Return the terms of the products, with the quota for `share` of the leads."""
    columns = connection.sql(
        """
        select
            dense_rank() over (order by institution_id) - 1 as institution,
            daily_quota as quota,
            coalesce(highest_cost_per_funded, 'nan'::double) as highest_cost_per_funded,
            price_model = 'cps' as is_paid_by_loan
        from products
        order by product_row
        """
    ).fetchnumpy()
    return ProductTerms(
        institution=np.asarray(columns["institution"], np.int64),
        quota=share * np.asarray(columns["quota"], np.float64),
        highest_cost_per_funded=np.asarray(columns["highest_cost_per_funded"], np.float64),
        is_paid_by_loan=np.asarray(columns["is_paid_by_loan"], np.bool_),
    )


def _cutoffs_of_quotas(
    product: IntArray,
    advantage: FloatArray,
    is_offer: BoolArray,
    quota: FloatArray,
    limits: Candidates,
) -> FloatArray:
    """Return the advantage above which each product has `quota_times` its quota.

    Pairs that are among their lead's best offers count first; a product that has enough of them
    needs no others (infinity), one that has too few pairs needs all (-infinity).
    """
    rank = np.where(is_offer, np.inf, advantage)
    wanted = np.maximum(1, np.ceil(limits.quota_times * quota)).astype(np.int64)
    order = np.lexsort((-rank, product))
    ends = np.searchsorted(product[order], np.arange(len(quota) + 1))
    has_enough = np.diff(ends) > wanted
    cutoffs = np.full(len(quota), -np.inf)
    cutoffs[has_enough] = rank[order][(ends[:-1] + wanted - 1)[has_enough]]
    return cutoffs


def _score_sample(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    eligibility: Eligibility,
    leads: IntArray,
    kept: Eligibility,
    day: date,
) -> pa.Table:
    """Return every pair of these leads with its scores and value, and `is_kept`, ordered by key."""
    pairs = eligibility.select_pairs(leads)
    batches = [
        score_pairs(connection, model_set, pairs.slice(start, PAIRS_PER_BATCH))
        for start in range(0, max(1, pairs.num_rows), PAIRS_PER_BATCH)
    ]
    scored = pa.concat_tables(batches)
    lead, product = (scored[name].to_numpy() for name in ("lead_row", "product_row"))
    bits = kept.bitsets[lead, product // 64] >> (product % 64).astype(np.uint64)
    connection.register(
        "sampled_scores", scored.append_column("is_kept", pa.array((bits & 1).astype(bool)))
    )
    sample = connection.sql(
        f"""
        select
            sampled_scores.channel_id, sampled_scores.lead_id, institution_id, product_id,
            p_approve, p_fund, revenue, expected_value, {least_odds_sql(day)} as least_odds, is_kept
        from sampled_scores
        join leads using (lead_row)
        order by all
        """
    ).to_arrow_table()
    connection.unregister("sampled_scores")
    return sample
