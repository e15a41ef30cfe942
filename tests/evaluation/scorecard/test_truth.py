"""By the truth, every policy respects the limits and none exceeds the oracle's value."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import (
    compute_negative_control,
    compute_scorecard,
    publish_scorecard,
)
from pipelines.evaluation.scorecard.daily_cache import compute_offers
from pipelines.evaluation.scorecard.figures import RATIOS, SUMS
from pipelines.evaluation.scorecard.market import load_market
from pipelines.evaluation.scorecard.policies import rank_by_policy
from pipelines.evaluation.scorecard.truth import DayTruth, ShuffledTruth, value_pairs
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.truth import pair_truth
from tests.evaluation.scorecard.conftest import LEADS, QUOTA, Matched
from tests.evaluation.scorecard.hand_written_market import DAY, publish_matches, write_market
from tests.helpers.representatives import keep

POLICIES = ["banyan", "broadcast", "rules", "oracle"]
KEYS = ["channel_id", "lead_id", "institution_id", "product_id"]


@pytest.fixture(scope="module")
def figures(matched: Matched):
    return compute_scorecard(matched.settings, DAY, DAY, with_truth=True)


@pytest.fixture(scope="module")
def market(matched: Matched):
    with connect(matched.settings) as connection:
        return load_market(connection, matched.settings, DAY)


@pytest.fixture
def copied(matched: Matched, tmp_path: Path) -> Settings:
    return Settings(home=Path(shutil.copytree(matched.settings.home, tmp_path / "home")))


def test_each_policy_has_every_figure(figures):
    assert list(figures) == POLICIES
    for name in POLICIES:
        assert figures[name].keys() >= {"leads", "shown", "quota_use", *SUMS, *RATIOS}
        assert None not in figures[name].values()


def test_figures_of_published_matches_follow_from_the_truth(matched, figures):
    truth = pair_truth(matched.world, matched.leads, matched.lead, matched.product, matched.rank)
    funded = truth.p_approve * truth.p_fund
    assert (truth.p_fund < truth.p_take).any(), "no offer has a better-ranked rival"
    assert (truth.amount < matched.leads.columns["amount"][matched.lead]).any()
    banyan = figures["banyan"]
    assert banyan["shown"] == matched.lead.size
    assert banyan["approved"] == pytest.approx(truth.p_approve.sum(), rel=1e-5)
    assert banyan["funded"] == pytest.approx(funded.sum(), rel=1e-5)
    interest = (funded * truth.amount * truth.apr).sum()
    assert banyan["cost_share_of_yield"] == pytest.approx(30 * LEADS / interest, rel=1e-5)
    default_rate = (funded * truth.p_default).sum() / funded.sum()
    assert banyan["default_rate"] == pytest.approx(default_rate, rel=1e-5)


def test_no_policy_exceeds_the_value_of_the_oracle(figures):
    shares = {name: figures[name]["value_share_of_oracle"] for name in POLICIES}
    assert shares.pop("oracle") == 1
    assert 0 < min(shares.values()) <= max(shares.values()) < 1


def test_the_attainable_plan_is_better_than_published_and_below_the_oracle(figures):
    shares = {name: figures[name]["surplus_share_of_oracle"] for name in POLICIES}
    attainable = shares["banyan"] / figures["banyan"]["surplus_share_of_attainable"]
    assert shares["oracle"] == 1
    assert max(shares["banyan"], shares["broadcast"], shares["rules"]) < attainable < 1
    for name in POLICIES:
        of_attainable = figures[name]["surplus_share_of_attainable"]
        assert shares[name] == pytest.approx(attainable * of_attainable, rel=1e-4)


def test_surplus_is_the_benefit_of_persons_and_the_margin_before_fees(matched, figures):
    """By the formula of the value policy, written again."""
    value = policy.value()
    truth = pair_truth(matched.world, matched.leads, matched.lead, matched.product, matched.rank)
    products, at = matched.world.products, matched.product
    years = matched.leads.columns["term_months"][matched.lead] / 24
    funded = truth.p_approve * truth.p_fund
    cap = matched.world.world.highest_rate(DAY)

    def room(most, asked):
        return np.clip(most / asked - 1, 0, 1)

    fit = 1 - value.amount_room_weight * (1 - room(products.amount_max[at], truth.amount))
    term = matched.leads.columns["term_months"][matched.lead]
    fit *= 1 - value.term_room_weight * (1 - room(products.term_max[at], term))
    saving = funded * np.maximum(cap - truth.apr, 0) * truth.amount * years * fit
    benefit = saving - (1 - truth.p_approve) * value.declined_cost
    loss = truth.p_default * value.loss_given_default
    margin = funded * truth.amount * ((truth.apr - value.funding_cost) * years - loss)
    surplus = (benefit + margin - value.application_cost).sum()
    assert figures["banyan"]["surplus"] == pytest.approx(surplus, rel=1e-3)


def test_persons_best_and_hopeless_follow_from_the_offers(matched, figures):
    shown = [
        row for row in compute_offers(matched.settings, DAY).offers.to_pylist()
        if row["policy"] == "banyan"
    ]  # fmt: skip
    by_lead: dict[tuple[str, str], list[dict]] = {}
    for row in shown:
        by_lead.setdefault((row["channel_id"], row["lead_id"]), []).append(row)
    best = hopeless = 0
    for offers in by_lead.values():
        first = next(row for row in offers if row["rank"] == 1)
        best += first["benefit"] == max(row["benefit"] for row in offers)
        none = np.prod([1 - row["p_approve"] for row in offers])
        hopeless += 1 - none < 0.05
    banyan = figures["banyan"]
    assert 0 < hopeless < len(by_lead)
    assert banyan["first_offer_is_persons_best"] == pytest.approx(best / len(by_lead), rel=1e-5)
    assert banyan["hopeless_share"] == pytest.approx(hopeless / len(by_lead), rel=1e-5)
    assert figures["oracle"]["first_offer_is_persons_best"] == 1


def test_every_reference_respects_quotas_and_offers_per_lead(matched, market):
    all_pairs = np.arange(market.lead.size)
    with connect(matched.settings) as connection:
        truth = DayTruth(market, matched.world)
        alone, by_columns = (
            value_pairs(connection, market, all_pairs, kind)
            for kind in (truth.as_only_offers(), truth.as_columns_show())
        )
    ranks = rank_by_policy(market, alone, by_columns)
    institution = market.institution[market.product]
    for name in (*POLICIES[1:], "attainable"):
        shown = ranks[name] > 0
        lead = market.lead[shown]
        assert np.bincount(market.product[shown]).max() == QUOTA, name
        assert np.bincount(lead).max() <= policy.value().max_offers_per_lead, name
        pairs = np.unique(np.stack([lead, institution[shown]]), axis=1)
        assert pairs.shape[1] == shown.sum(), name


def test_predictions_exclude_no_pair_from_the_references(tmp_path):
    key = {"channel_id": "feed-01", "lead_id": "1", "amount": 9_000.0}
    bank = {"institution_id": "bank-1"}
    products = [
        bank | {"product_id": "banded", "pd_min": 0.9, "pd_max": 0.9},
        bank | {"product_id": "too-large", "amount_min": 10_000.0},
    ]
    settings = write_market(tmp_path, [key], products, [], {"feed-01": 30.0})
    with connect(settings) as connection:
        found = load_market(connection, settings, DAY)
    shown = found.products["product_id"].take(pa.array(found.product)).to_pylist()
    assert shown == ["banded"]


def test_the_same_home_gives_the_same_figures(matched, figures):
    assert compute_scorecard(matched.settings, DAY, DAY, with_truth=True) == figures


def test_a_day_is_computed_once_while_nothing_changes(copied, monkeypatch):
    compute_scorecard(copied, DAY, DAY, with_truth=True)
    computed = []

    def counting(settings, day):
        computed.append(day)
        return compute_offers(settings, day)

    monkeypatch.setattr("pipelines.evaluation.scorecard.daily_cache.compute_offers", counting)
    compute_scorecard(copied, DAY, DAY, with_truth=True)
    assert computed == []
    publish_matches(copied, [])
    assert compute_scorecard(copied, DAY, DAY, with_truth=True)["banyan"]["shown"] == 0
    assert computed == [DAY]
    world = copied.truth / "world.json"
    world.write_text(world.read_text("utf-8").replace('"seed": 11', '"seed": 12'), "utf-8")
    compute_scorecard(copied, DAY, DAY, with_truth=True)
    assert computed == [DAY, DAY]


def test_the_optimal_plan_gains_nothing_under_a_shuffled_truth(copied):
    offers = compute_offers(copied, DAY).offers.to_pylist()
    best = [row for row in offers if row["policy"] == "oracle"]
    plan = [{key: row[key] for key in KEYS} | {"rank": row["rank"]} for row in best]
    publish_matches(copied, [row | {"match_id": f"{at}"} for at, row in enumerate(plan)])
    true = compute_scorecard(copied, DAY, DAY, with_truth=True)
    assert true["banyan"]["value_share_of_oracle"] == 1
    assert true["banyan"]["funded_low"] > true["broadcast"]["funded_high"]
    shuffled = compute_negative_control(copied, DAY, DAY)
    assert shuffled["banyan"]["funded_low"] < shuffled["broadcast"]["funded_high"]
    assert shuffled["banyan"]["value_share_of_oracle"] < 0.6
    for name in ("banyan", "rules"):
        now, before = (shuffled[way] for way in (name, "broadcast"))
        assert now["surplus_low"] < before["surplus_high"], name
        assert now["lenders_worse_than_broadcast"] == 0, name


def test_a_shuffled_truth_is_the_same_truth_in_another_order(matched, market):
    true, shuffled = (
        kind(market, matched.world).as_only_offers() for kind in (DayTruth, ShuffledTruth)
    )
    for name in ("p_approve", "p_take", "p_default", "apr", "amount"):
        before, after = (getattr(of, name) for of in (true, shuffled))
        assert (before != after).any(), name
        assert (np.sort(before) == np.sort(after)).all(), name


@pytest.mark.parametrize("leads", keep((1,), [0, 1]))
def test_a_day_without_eligible_pairs_has_zero_figures(tmp_path, leads):
    simulate(Settings(home=tmp_path), SimulationPlan(DAY, 1, 50, 4, 2, 5))
    key = {"channel_id": "feed-01", "lead_id": "260203-0000001"}
    settings = write_market(tmp_path, [key] * leads, [], [], {"feed-01": 30.0})
    figures, page = publish_scorecard(settings, DAY, DAY)
    assert "0 lenders with an open product" in page.read_text("utf-8")
    assert list(figures) == POLICIES
    for of_policy in figures.values():
        assert (of_policy["leads"], of_policy["shown"], of_policy["funded"]) == (leads, 0, 0)
        assert of_policy["cost_per_funded"] is None


def test_figures_of_two_days_add_up(figures, copied):
    next_day = DAY + timedelta(days=1)
    for root in (copied.marts, copied.matches):
        shutil.copytree(copied.day_folder(root, DAY), copied.day_folder(root, next_day))
    both = compute_scorecard(copied, DAY, next_day, with_truth=False)["banyan"]
    assert both["leads"] == 2 * figures["banyan"]["leads"]
    assert both["shown"] == 2 * figures["banyan"]["shown"]
    assert both["quota_use"] == figures["banyan"]["quota_use"]


def test_a_lead_unknown_to_the_simulated_market_has_probability_zero(matched, market):
    column = market.leads.schema.get_field_index("lead_id")
    unknown = pa.array(["corrupted"] * market.leads.num_rows)
    corrupted = replace(market, leads=market.leads.set_column(column, "lead_id", unknown))
    assert not DayTruth(corrupted, matched.world).as_only_offers().p_approve.any()


def test_matches_outside_the_eligible_pairs_raise_an_error(copied):
    unknown = dict.fromkeys(KEYS, "unheard-of") | {"rank": 1, "match_id": "m1"}
    publish_matches(copied, [unknown])
    with pytest.raises(InputMissing, match="1 of 1 matches of 2026-02-03 are not among"):
        compute_scorecard(copied, DAY, DAY, with_truth=True)
