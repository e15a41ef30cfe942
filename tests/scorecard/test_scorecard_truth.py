"""By the truth: every policy keeps the limits, and none is worth more than the oracle."""

import numpy as np
import pytest

from expectations import policy
from pipelines.database import connect
from pipelines.scorecard import scorecard
from pipelines.scorecard.figures import RATIOS, SUMS
from pipelines.scorecard.market import load_market
from pipelines.scorecard.policies import shown_by
from pipelines.scorecard.truth import true_answers, valued
from pipelines.simulate.truth import truth_of
from tests.scorecard.conftest import LEADS, QUOTA, Matched
from tests.scorecard.markets import DAY

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
        alone = np.ones(market.pairs.num_rows, np.int64)
        own = valued(connection, market, true_answers(market, matched.world, alone, alone - 1))
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
