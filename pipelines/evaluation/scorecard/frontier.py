"""The frontier of a day: what other weights of the value would bring, by the truth.

Each point is the plan of the greatest value by its weights, with true probabilities, under quotas,
offers per lead and budgets: what a platform that predicts perfectly would choose. So points differ
by the weights alone, and not by what the models know. The figures of a point follow from the offers
as they are shown. A day with more than `MAX_PAIRS` eligible pairs is represented by every n-th lead
with an n-th of each quota and budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import duckdb
import numpy as np

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.lenders import MIN_OFFERS
from pipelines.evaluation.scorecard.market import DayMarket, load_market, sample_market
from pipelines.evaluation.scorecard.policies import BROADCAST, allocate_optimally, rank_broadcast
from pipelines.evaluation.scorecard.truth import DayTruth, PairValues, value_pairs
from pipelines.simulate.truth import load_simulated_market

MAX_PAIRS = 100_000
PLATFORM_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 5.0, 20.0)
PERSON_WEIGHTS = (0.0, 1.0, 2.0, 5.0)
SEED = 20


@dataclass(frozen=True)
class FrontierPoint:
    """A plan and its expected results; sums are of the leads that represent the day."""

    kind: str
    """The weight that varies, or the policy: `platform`, `person`, `banyan` or `broadcast`."""
    weight: float | None
    """The weight of that side, where the others are 1; None for a policy."""
    surplus: float
    """Of the greatest surplus of all points."""
    fees: float
    loans: float
    interest: float
    cost: float
    """What the channels were paid for the leads."""
    least_lender: str
    least_ratio: float | None
    """Least approval rate of a lender over broadcast's; None if no lender is measured."""

    @property
    def fee_share(self) -> float | None:
        """Return the fees as a share of the yield."""
        return self.fees / self.interest if self.interest > 0 else None

    @property
    def cost_share(self) -> float | None:
        """Return the channels' cost as a share of the yield."""
        return self.cost / self.interest if self.interest > 0 else None


@dataclass(frozen=True)
class Frontier:
    """The points of a day, and the share of its leads that they are computed from."""

    day: date
    share: float
    points: tuple[FrontierPoint, ...]

    def of_kind(self, kind: str) -> list[FrontierPoint]:
        """Return the points of one kind, by rising weight."""
        return [point for point in self.points if point.kind == kind]


def compute_frontier(settings: Settings, day: date, cost: float) -> Frontier:
    """Return the frontier of `day`, whose leads cost `cost`.

    Raises:
        InputMissing: The day isn't matched, or the home was not simulated.
    """
    simulated = load_simulated_market(settings)
    with connect(settings) as connection:
        market, every = sample_market(load_market(connection, settings, day), MAX_PAIRS)
        truth = DayTruth(market, simulated)
        alone = value_pairs(connection, market, np.arange(market.lead.size), truth.as_only_offers())
        ranks = _rank_by_weights(market, alone)
        measure = _Measure(connection, market, truth, ranks[BROADCAST, None], cost / every)
        points = [measure.point(kind, weight, rank) for (kind, weight), rank in ranks.items()]
    greatest = max(point.surplus for point in points) or 1.0
    points = [replace(point, surplus=point.surplus / greatest) for point in points]
    return Frontier(day, 1 / every, tuple(points))


def _rank_by_weights(
    market: DayMarket, alone: PairValues
) -> Mapping[tuple[str, float | None], IntArray]:
    """Return the rank of each pair under each point's plan."""
    keys = np.random.default_rng([SEED, market.day.toordinal()]).random(market.lead.size)

    def plan(person: float, platform: float) -> IntArray:
        return allocate_optimally(market, alone, alone.weighted(person, 1, platform), keys)

    ranks: dict[tuple[str, float | None], IntArray] = {
        ("platform", weight): plan(1.0, weight) for weight in PLATFORM_WEIGHTS
    }
    for weight in PERSON_WEIGHTS:
        is_known = weight == 1
        ranks["person", weight] = ranks["platform", 1.0] if is_known else plan(weight, 1.0)
    ranks["banyan", None] = market.published
    ranks[BROADCAST, None] = rank_broadcast(market, keys)
    return ranks


@dataclass(frozen=True)
class _Measure:
    """Measures plans of one day."""

    connection: duckdb.DuckDBPyConnection
    market: DayMarket
    truth: DayTruth
    broadcast: IntArray
    """Rank of each pair under broadcast."""
    cost: float

    def point(self, kind: str, weight: float | None, rank: IntArray) -> FrontierPoint:
        """Return the point of a plan; its surplus is in money."""
        rows = np.flatnonzero(rank)
        offered = self.truth.as_ranked_offers(rows, rank[rows])
        values = value_pairs(self.connection, self.market, rows, offered)
        funded = offered.p_approve * offered.p_fund
        lent = funded * offered.amount * self.market.product_column("exchange_rate")[rows]
        name, ratio = self.least_served(rank)
        return FrontierPoint(
            kind=kind,
            weight=weight,
            surplus=float(values.surplus.sum()),
            fees=float(values.revenue.sum()),
            loans=float(funded.sum()),
            interest=float((lent * offered.apr).sum()),
            cost=self.cost,
            least_lender=name,
            least_ratio=ratio,
        )

    def least_served(self, rank: IntArray) -> tuple[str, float | None]:
        """Return the lender of the least approval rate over broadcast's, and that ratio."""
        rate, offers = self._approval_rates(rank)
        rate_before, offers_before = self._approval_rates(self.broadcast)
        fewer = np.minimum(offers, offers_before)
        is_measured = (fewer >= MIN_OFFERS) & (rate_before > 0)
        if not is_measured.any():
            return "", None
        ratio = np.where(is_measured, rate / np.where(rate_before > 0, rate_before, 1), np.inf)
        least = int(ratio.argmin())
        product = int(np.flatnonzero(self.market.institution == least)[0])
        name = self.market.products["institution_id"][product].as_py()
        return str(name), float(ratio[least])

    def _approval_rates(self, rank: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the approval rate and the offers of each institution."""
        rows = np.flatnonzero(rank)
        institution = self.market.institution[self.market.product[rows]]
        size = int(self.market.institution.max(initial=-1)) + 1
        p_approve = self.truth.as_ranked_offers(rows, rank[rows]).p_approve
        offers = np.asarray(np.bincount(institution, minlength=size), np.float64)
        approved = np.bincount(institution, p_approve, size)
        return np.asarray(approved / np.maximum(offers, 1)), offers
