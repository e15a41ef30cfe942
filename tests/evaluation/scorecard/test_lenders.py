"""Lenders are compared with broadcast lead by lead; chance alone makes no lender worse."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.database import connect
from pipelines.evaluation.scorecard.daily_cache import compute_offers
from pipelines.evaluation.scorecard.day_figures import combine_days
from pipelines.evaluation.scorecard.lead_totals import DayTotals, LoadedLeads, ShownOffers
from pipelines.evaluation.scorecard.lenders import (
    MIN_OFFERS,
    count_figures,
    find_least_served,
    measure_service,
)
from pipelines.evaluation.scorecard.market import load_market
from pipelines.evaluation.scorecard.policies import rank_broadcast
from pipelines.evaluation.scorecard.run import day_by_truth
from pipelines.evaluation.scorecard.truth import DayTruth
from tests.evaluation.scorecard.conftest import Matched
from tests.evaluation.scorecard.hand_written_market import DAY

Offer = tuple[int, str, float]
"""Lead, lender and probability of approval."""


def make_day(
    offers: Mapping[str, Sequence[Offer]], leads: int, lenders: Sequence[str]
) -> DayTotals:
    """Return a day on which each policy shows these offers; half of the approved are funded."""
    loaded = LoadedLeads(
        day=DAY,
        channel_id=np.full(leads, "feed"),
        cost=np.full(leads, 10.0),
        segment=np.full(leads, "consumer"),
        income=np.full(leads, np.nan),
        least_odds=np.full(leads, 0.05),
        keys=pa.table({}),
    )
    shown = {}
    for policy, rows in offers.items():
        p_approve = np.array([row[2] for row in rows], np.float64)
        shown[policy] = ShownOffers(
            lead=np.array([row[0] for row in rows], np.int64),
            institution_id=np.array([row[1] for row in rows], np.str_),
            cost=np.full(len(rows), 10.0),
            approved=p_approve,
            funded=p_approve / 2,
            revenue=np.full(len(rows), 3.0),
            interest=p_approve * 100,
        )
    return DayTotals(loaded, 100, {}, shown, lenders)


def draw_offers(random: np.random.Generator, leads: int, lenders: int, each: int) -> list[Offer]:
    """Draw offers at random; most probabilities are small and a few are large, as in a market."""
    return [
        (int(lead), f"lender-{lender}", float(p))
        for lender in range(lenders)
        for lead, p in zip(
            random.choice(leads, each, replace=False), random.beta(0.25, 4, each), strict=True
        )
    ]


def test_rates_fees_and_ratio_equal_a_computation_by_hand():
    offers = {
        "banyan": [(0, "a", 0.4), (1, "a", 0.2), (2, "b", 0.1)],
        "broadcast": [(0, "a", 0.4), (3, "a", 0.1), (1, "c", 0.3)],
    }
    service = measure_service([make_day(offers, 4, ["a", "b", "c", "d"])], "banyan", "broadcast")
    a, b, c, d = service
    assert (a.offers, a.rate, a.rate_before) == (2, pytest.approx(0.3), pytest.approx(0.25))
    assert a.ratio == pytest.approx(1.2)
    assert a.fee_per_funded == pytest.approx(6 / 0.3)
    assert a.fee_per_funded_before == pytest.approx(6 / 0.25)
    assert (b.rate, b.rate_before, b.ratio) == (0.1, None, None)
    assert (c.offers, c.rate, c.rate_before) == (0, None, 0.3)
    assert (d.offers, d.offers_before, d.rate, d.fee_per_funded) == (0, 0, None, None)


def test_the_interval_of_a_ratio_agrees_with_a_bootstrap_over_leads():
    random = np.random.default_rng(5)
    leads, p = 400, random.beta(1, 5, 400)
    now = [(lead, "a", float(p[lead])) for lead in range(0, leads, 2)]
    then = [(lead, "a", float(p[lead])) for lead in range(0, leads, 3)]
    (found,) = measure_service([make_day({"banyan": now, "broadcast": then}, leads, ["a"])],
                               "banyan", "broadcast")  # fmt: skip
    ratios = []
    for _ in range(2_000):
        draws = np.bincount(random.integers(0, leads, leads), minlength=leads)
        rates = [np.average(p[::step], weights=draws[::step]) for step in (2, 3)]
        ratios.append(rates[0] / rates[1])
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert found.low == pytest.approx(low, rel=0.05)
    assert found.high == pytest.approx(high, rel=0.05)


def test_a_lender_that_gets_what_others_reject_is_found_and_named():
    random = np.random.default_rng(8)
    offers = draw_offers(random, 500, 30, 100)
    dumped = [(lead, name, p * 0.05 if name == "lender-7" else p) for lead, name, p in offers]
    names = sorted({name for _, name, _ in offers})
    day = make_day({"banyan": dumped, "broadcast": offers}, 500, names)
    service = measure_service([day], "banyan", "broadcast")
    assert [lender.name for lender in service if lender.is_worse] == ["lender-7"]
    least = find_least_served(service)
    assert least is not None
    assert least.name == "lender-7"
    assert least.ratio == pytest.approx(0.05)
    figures = count_figures(service)
    assert figures["lenders_worse_than_broadcast"] == 1
    assert figures["least_served_lender"] == pytest.approx(0.05)


def test_chance_alone_makes_a_lender_worse_in_few_scorecards():
    """Two independent broadcasts: at most 5% of scorecards may count any of 40 lenders."""
    random, fired, alone = np.random.default_rng(57), 0, 0
    names = sorted(f"lender-{number}" for number in range(40))
    for _ in range(100):
        each = int(random.integers(3, 60))
        offers = {way: draw_offers(random, 600, 40, each) for way in ("banyan", "broadcast")}
        service = measure_service([make_day(offers, 600, names)], "banyan", "broadcast")
        figures = count_figures(service)
        fired += bool(figures["lenders_worse_than_broadcast"])
        alone += int(figures["lenders_worse_than_broadcast_high"] or 0)
    assert fired <= 5
    assert 0 < alone / 4_000 < 0.06


def test_another_broadcast_of_a_simulated_market_serves_no_lender_worse(matched: Matched):
    day = day_by_truth(matched.settings, DAY)
    with connect(matched.settings) as connection:
        market = load_market(connection, matched.settings, DAY)
    keys = np.random.default_rng(1).random(market.lead.size)
    rank = rank_broadcast(market, keys)
    rows = np.flatnonzero(rank)
    truth = DayTruth(market, matched.world).as_ranked_offers(rows, rank[rows])
    ids = market.products["institution_id"].take(pa.array(market.product[rows])).to_pylist()
    again = ShownOffers(
        lead=market.lead[rows],
        institution_id=np.array(ids, np.str_),
        cost=np.zeros(rows.size),
        approved=truth.p_approve,
        funded=truth.p_approve * truth.p_fund,
        revenue=np.zeros(rows.size),
        interest=np.zeros(rows.size),
    )
    offers = {"again": again, "broadcast": day.offers["broadcast"]}
    both = DayTotals(day.leads, day.quota, {}, offers, day.lenders)
    assert not any(lender.is_worse for lender in measure_service([both], "again", "broadcast"))


def test_broadcast_is_served_as_by_itself(matched: Matched):
    broadcast = combine_days([day_by_truth(matched.settings, DAY)])["broadcast"]
    assert broadcast["lenders_worse_than_broadcast_high"] == 0
    assert broadcast["least_served_lender"] == broadcast["least_served_lender_low"] == 1


def test_every_lender_with_an_open_product_is_listed(matched: Matched):
    names = compute_offers(matched.settings, DAY).lenders["institution_id"].to_pylist()
    assert len(names) == matched.world.lenders.name.size
    service = measure_service([day_by_truth(matched.settings, DAY)], "banyan", "broadcast")
    assert [lender.name for lender in service] == names
    assert min(lender.offers for lender in service) == 0, "every lender has a match"


def test_few_offers_make_no_least_served_lender():
    few = [(lead, "a", 0.1) for lead in range(MIN_OFFERS - 1)]
    day = make_day({"banyan": few, "broadcast": few}, 30, ["a"])
    figures = count_figures(measure_service([day], "banyan", "broadcast"))
    assert figures["least_served_lender"] is None
    assert figures["lenders_worse_than_broadcast"] == 0
