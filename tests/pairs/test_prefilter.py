"""The prefilter keeps enough pairs of each lead and product, and measures its loss."""

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from expectations.policy_types import Candidates
from models import model_set as models
from pipelines.allocation.allocate import allocate
from pipelines.allocation.problem import build_ratio_limit
from pipelines.allocation.random_instance import add_guarantees, generate_instance
from pipelines.core.database import connect
from pipelines.core.publishing import read_manifest
from pipelines.matches import match_day
from pipelines.pairs import prefilter
from pipelines.pairs.eligibility.bitsets import unpack
from pipelines.pairs.eligibility.engine import Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.prefilter import (
    ODDS_MARGIN,
    EstimatedPairs,
    EstimatedValues,
    OffersOfLeads,
    Prefiltered,
    ProductTerms,
    estimate_shadow_prices,
    select_promising_pairs,
)
from pipelines.pairs.prefilter_loss import measure_best_offers
from pipelines.pairs.score_day import score
from pipelines.pairs.score_estimates import estimate_scores
from pipelines.pairs.scoring import score_leads
from tests.helpers.day import write_day_before_matching
from tests.helpers.matched_day import DAY

LIMITS = Candidates(max_pairs=0, per_lead=3, quota_times=1.0, sampled_leads=10_000)

Day = tuple[duckdb.DuckDBPyConnection, Any, Eligibility]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Return a day of 300 leads and 40 products."""
    home = tmp_path_factory.mktemp("large")
    settings = write_day_before_matching(home, DAY, leads=300, products=40)
    model_set = models.load(settings, DAY)
    with connect(settings) as connection:
        marts = settings.day_folder(settings.marts, DAY)
        load_leads(connection, marts)
        score_leads(connection, model_set)
        yield (
            connection,
            model_set,
            find_eligible_pairs(connection, load_products(connection, marts, DAY), DAY),
        )


def flags(eligibility: Eligibility) -> np.ndarray:
    return unpack(eligibility.bitsets, eligibility.products)


def prefilter_with(loaded: Day, **changes: float) -> Prefiltered:
    return select_promising_pairs(*loaded, LIMITS.model_copy(update=changes), DAY)


def test_a_day_within_the_limit_is_not_prefiltered(loaded):
    eligible = int(loaded[2].pairs_per_lead.sum())
    whole = prefilter_with(loaded, max_pairs=eligible)
    assert whole.eligibility is loaded[2]
    assert (whole.sample, whole.facts) == (None, {})
    assert prefilter_with(loaded, max_pairs=eligible - 1).facts["eligible"] == eligible


def test_each_lead_keeps_its_best_pairs_and_gets_no_other(loaded):
    kept, every = flags(prefilter_with(loaded).eligibility), flags(loaded[2])
    assert not (kept & ~every).any()
    assert (kept.sum(axis=1) >= np.minimum(every.sum(axis=1), 3)).all()
    assert 0 < kept.sum() < every.sum()


def test_a_lead_with_enough_likely_pairs_keeps_no_unlikely_one(loaded):
    connection, model_set, eligibility = loaded
    leads = len(eligibility.bitsets)
    estimates = estimate_scores(connection, model_set, np.arange(leads))
    pairs = eligibility.select_pairs(np.arange(leads))
    lead, product = (pairs[name].to_numpy() for name in ("lead_row", "product_row"))
    p_approve, _ = estimates.estimate(lead, product)
    least = np.quantile(p_approve, np.linspace(0.1, 0.9, leads))
    is_likely = p_approve >= ODDS_MARGIN * least[lead]
    is_kept = is_likely | (np.bincount(lead, is_likely, leads) < 3)[lead]
    assert 0 < (is_kept & ~is_likely).sum() < is_kept.sum() < len(lead)
    possible = EstimatedValues(estimates, least).drop_unlikely(pairs, 3)
    assert possible.equals(pairs.filter(pa.array(is_kept)))


@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_each_product_keeps_enough_to_fill_its_quota(loaded, times):
    kept, every = flags(prefilter_with(loaded, quota_times=times).eligibility), flags(loaded[2])
    quota = loaded[0].sql("select daily_quota from products order by product_row").fetchall()
    wanted = np.minimum(every.sum(axis=0), np.ceil(times * np.array(quota)[:, 0]))
    assert (kept.sum(axis=0) >= wanted).all()


def test_the_loss_is_zero_if_every_pair_is_kept(loaded):
    whole = prefilter_with(loaded, per_lead=40)
    assert np.array_equal(whole.eligibility.bitsets, loaded[2].bitsets)
    assert whole.facts["loss_with_free_quotas"] == 0


def test_the_batch_size_changes_nothing(loaded, monkeypatch):
    before = prefilter_with(loaded, sampled_leads=50)
    monkeypatch.setattr(prefilter, "ESTIMATED_PER_BATCH", 40)
    after = prefilter_with(loaded, sampled_leads=50)
    assert np.array_equal(before.eligibility.bitsets, after.eligibility.bitsets)
    assert before.sample.equals(after.sample)


def measure_loss_plainly(
    sample: list[dict[str, Any]], prices: dict[tuple[str, str], float]
) -> float:
    def best(rows: list[dict[str, Any]]) -> float:
        by_institution: dict[str, float] = {}
        for row in rows:
            name = row["institution_id"]
            net_value = row["expected_value"] - prices.get((name, row["product_id"]), 0)
            by_institution[name] = max(by_institution.get(name, 0), net_value)
        return sum(sorted(by_institution.values(), reverse=True)[:5])

    leads: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sample:
        if row["expected_value"] >= 1 and row["p_approve"] >= row["least_odds"]:
            leads.setdefault((row["channel_id"], row["lead_id"]), []).append(row)
    every = sum(best(rows) for rows in leads.values())
    kept = sum(best([row for row in rows if row["is_kept"]]) for rows in leads.values())
    return 1 - kept / every


@pytest.mark.parametrize("seed", range(20))
def test_the_best_offers_of_leads_are_the_ones_of_plain_sorting(seed):
    """Half of the markets have many equal values."""
    random = np.random.default_rng(seed)
    leads, products, most = random.integers(1, [40, 12, 6])
    lead, _ = np.nonzero(random.random((leads, products)) < 0.7)
    net_value = random.normal(0, 10, len(lead))
    net_value = np.round(net_value / 4) if seed % 2 else net_value
    expected, expected_given_up = np.zeros(len(lead), np.bool_), np.zeros(len(lead))
    for one in range(leads):
        pairs = np.flatnonzero(lead == one)
        order = pairs[np.argsort(-net_value[pairs], kind="stable")]
        expected[order[:most]] = True
        for pair in pairs:
            rivals = [other for other in order[: most + 1] if other != pair][:most]
            if len(rivals) == most:
                expected_given_up[pair] = max(net_value[rivals[-1]], 0)
    is_best, given_up = OffersOfLeads(lead, int(most)).rank(net_value)
    assert (is_best == expected).all()
    assert (given_up == expected_given_up).all()


def test_estimated_prices_are_near_the_lowest_dual_bound_of_the_plan():
    market = add_guarantees(generate_instance(2_000, 30, 12, seed=3, max_offers=3), 3)
    candidates, guarantees = market.candidates, market.guarantees
    pairs = EstimatedPairs(
        candidates.lead,
        candidates.product,
        guarantees.approval,
        guarantees.funded,
        guarantees.fee,
        candidates.value,
    )
    terms = ProductTerms(
        np.arange(30) // 2, market.quota.astype(float), np.full(30, np.nan), np.zeros(30, np.bool_)
    )
    prices = estimate_shadow_prices(pairs, terms, policy.guarantees(), market.max_offers)
    assert min((each > 0).sum() for each in vars(prices).values()) > 3
    net_value = prices.compute_net_value(pairs)

    def bound(net_value: np.ndarray, price_of_quota: np.ndarray) -> float:
        """The dual function; the prices of ratios have no capacity."""
        by_institution: dict[tuple[int, int], float] = {}
        for lead, product, value in zip(pairs.lead, pairs.product, net_value, strict=True):
            key = (int(lead), int(product) // 2)
            by_institution[key] = max(by_institution.get(key, 0.0), float(value))
        by_lead: dict[int, list[float]] = {}
        for (lead, _), value in by_institution.items():
            by_lead.setdefault(lead, []).append(value)
        offers = sum(sum(sorted(v, reverse=True)[: market.max_offers]) for v in by_lead.values())
        return offers + float((market.quota * price_of_quota).sum())

    rate, cost = prices.least_approval_rate, prices.highest_cost_per_funded
    ones = np.ones(len(pairs.lead))
    limits = [
        build_ratio_limit("approval_rate", pairs.product, -pairs.p_approve, -ones, rate),
        build_ratio_limit("cost_per_funded", pairs.product, pairs.fee, pairs.p_funded, cost),
    ]
    plan = allocate(candidates, market.quota, max_offers=market.max_offers, limits=limits)
    estimated = bound(net_value, prices.quota)
    assert plan.value <= estimated <= 1.002 * plan.bound
    assert bound(pairs.value, np.zeros(30)) > 1.1 * plan.bound


def test_an_impossible_price_changes_no_price_of_others():
    """Product 2 pays infinitely much, or an unknown sum."""
    lead, product = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    p_approve = np.tile([0.3, 0.5, 0.4], 40) + np.arange(120) / 1000
    value = np.tile([20.0, 30.0, 25.0], 40) + np.arange(120) % 7
    terms = ProductTerms(
        np.arange(3), np.array([5.0, 8.0, 9.0]), np.full(3, np.nan), np.zeros(3, np.bool_)
    )

    def estimate(of_last: float) -> tuple[EstimatedPairs, np.ndarray]:
        changed = np.where(product == 2, of_last, value)
        pairs = EstimatedPairs(lead, product, p_approve, p_approve * 0.5, changed, changed)
        prices = estimate_shadow_prices(pairs, terms, policy.guarantees(), 1)
        return pairs, prices.compute_net_value(pairs)

    for impossible in (np.inf, np.nan, 1e300):
        pairs, net_value = estimate(impossible)
        without = net_value[product != 2]
        assert np.isfinite(without).all()
        assert np.array_equal(without, estimate(-1.0)[1][product != 2])
    is_best, _ = OffersOfLeads(pairs.lead, 2).rank(estimate(np.nan)[1])
    assert is_best.sum() == 80
    assert not is_best[product == 2].any()


@pytest.mark.parametrize("price", [0.0, 20.0])
def test_the_loss_is_the_removed_value_after_prices(loaded, price):
    sample = prefilter_with(loaded, per_lead=1, quota_times=0.0).sample
    names = {(row["institution_id"], row["product_id"]) for row in sample.to_pylist()}
    prices = dict.fromkeys(sorted(names)[::2], price)
    net_values = [
        row["expected_value"] - prices.get((row["institution_id"], row["product_id"]), 0)
        for row in sample.to_pylist()
    ]
    best = measure_best_offers(loaded[0], sample.append_column("net_value", pa.array(net_values)))
    loss = measure_loss_plainly(sample.to_pylist(), prices)
    assert best.removed_share == pytest.approx(loss)
    assert loss > 0


def test_the_manifests_of_a_prefiltered_day_state_it(matched_copy, monkeypatch):
    before = match_day.match(matched_copy, DAY)
    assert "prefilter_loss" not in before
    rules = policy.pairs().model_copy(update={"candidates": LIMITS})
    monkeypatch.setattr(policy, "pairs", lambda: rules)
    score(matched_copy, DAY)
    after = match_day.match(matched_copy, DAY)
    facts = read_manifest(matched_copy.day_folder(matched_copy.pairs, DAY))["prefilter"]
    scored = pq.read_metadata(
        matched_copy.day_folder(matched_copy.pairs, DAY) / "pairs.parquet"
    ).num_rows
    assert facts["kept"] == scored < facts["eligible"]
    assert 0 <= after["prefilter_loss"] < 1
    assert after["value"] <= before["value"] * (1 + 1e-9)
    assert after["received"] == before["received"]
