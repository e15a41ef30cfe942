"""By the truth: every policy keeps the limits, and none is worth more than the oracle."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from expectations import policy
from pipelines.database import connect
from pipelines.scorecard import scorecard
from pipelines.scorecard.figures import RATIOS, SUMS
from pipelines.scorecard.market import load_market
from pipelines.scorecard.policies import shown_by
from pipelines.scorecard.truth import TruthOfDay, valued
from pipelines.settings import Settings
from pipelines.simulate import Plan, simulate
from pipelines.simulate.truth import truth_of
from tests.scorecard.conftest import LEADS, QUOTA, Matched
from tests.scorecard.markets import DAY, write_market

POLICIES = ["banyan", "broadcast", "rules", "oracle"]


@pytest.fixture(scope="module")
def figures(matched: Matched):
    return scorecard(matched.settings, DAY, DAY, with_truth=True)


def test_each_policy_has_every_figure(figures):
    assert list(figures) == POLICIES
    for name in POLICIES:
        assert figures[name].keys() >= {"leads", "shown", "quota_use", *SUMS, *RATIOS}
        assert None not in figures[name].values()


def test_published_matches_bring_what_the_truth_says_of_them(matched, figures):
    offers = np.bincount(matched.lead)[matched.lead]
    of_pairs = (matched.lead, matched.product, matched.rank, offers - 1)
    truth = truth_of(matched.world, matched.asked, *of_pairs)
    funded = truth.p_approve * truth.p_fund
    banyan = figures["banyan"]
    assert banyan["shown"] == matched.lead.size
    assert banyan["approved"] == pytest.approx(truth.p_approve.sum(), rel=1e-5)
    assert banyan["funded"] == pytest.approx(funded.sum(), rel=1e-5)
    interest = (funded * truth.amount * truth.apr).sum()
    assert banyan["cost_share_of_yield"] == pytest.approx(30 * LEADS / interest, rel=1e-5)
    default_rate = (funded * truth.p_default).sum() / funded.sum()
    assert banyan["default_rate"] == pytest.approx(default_rate, rel=1e-5)


def test_no_policy_is_worth_more_than_the_oracle(figures):
    shares = {name: figures[name]["value_share_of_oracle"] for name in POLICIES}
    assert shares.pop("oracle") == 1
    assert 0 < min(shares.values()) <= max(shares.values()) < 1


def test_every_reference_keeps_quotas_and_offers_a_lead(matched):
    with connect(matched.settings) as connection:
        market = load_market(connection, matched.settings, DAY)
        own = valued(connection, market, TruthOfDay(market, matched.world).alone())
    value = own["expected_value"].to_numpy()
    lead, institution, product = map(market.numbers, ("lead", "institution", "product"))
    ranks = shown_by(market, value)
    for name in POLICIES[1:]:
        shown = ranks[name] > 0
        assert np.bincount(product[shown]).max() == QUOTA, name
        assert np.bincount(lead[shown]).max() <= policy.value().most_offers_per_lead, name
        met = np.unique(np.stack([lead[shown], institution[shown]]), axis=1)
        assert met.shape[1] == shown.sum(), name


def test_the_same_home_gives_the_same_figures(matched, figures):
    assert scorecard(matched.settings, DAY, DAY, with_truth=True) == figures


@pytest.mark.parametrize("leads", [0, 1])
def test_a_day_on_which_nothing_could_be_matched_costs_and_brings_nothing(tmp_path, leads):
    simulate(Settings(home=tmp_path), Plan(DAY, 1, 50, 4, 2, 5))
    key = {"channel_id": "feed-01", "lead_id": "260203-0000001"}
    settings = write_market(tmp_path, [key] * leads, [], [], [], {"feed-01": 30.0})
    figures = scorecard(settings, DAY, DAY, with_truth=True)
    assert list(figures) == POLICIES
    for of_policy in figures.values():
        assert (of_policy["leads"], of_policy["shown"], of_policy["funded"]) == (leads, 0, 0)
        assert of_policy["cost_per_funded"] is None


def test_days_are_taken_together(matched, figures, tmp_path):
    home = Path(shutil.copytree(matched.settings.home, tmp_path, dirs_exist_ok=True))
    settings = Settings(home=home)
    next_day = DAY + timedelta(days=1)
    for root in (settings.marts, settings.pairs, settings.matches):
        shutil.copytree(settings.of_day(root, DAY), settings.of_day(root, next_day))
    both = scorecard(settings, DAY, next_day, with_truth=False)["banyan"]
    assert both["leads"] == 2 * figures["banyan"]["leads"]
    assert both["shown"] == 2 * figures["banyan"]["shown"]
    assert both["quota_use"] == figures["banyan"]["quota_use"]


def test_a_lead_that_the_world_does_not_know_has_no_chance(matched):
    with connect(matched.settings) as connection:
        market = load_market(connection, matched.settings, DAY)
    place = market.pairs.schema.get_field_index("lead_id")
    nobody = pa.array(["spoilt"] * market.pairs.num_rows)
    spoilt = replace(market, pairs=market.pairs.set_column(place, "lead_id", nobody))
    assert not TruthOfDay(spoilt, matched.world).alone().p_approve.any()
