"""The truth of any pair can be computed again from its address."""

from dataclasses import replace

import duckdb
import numpy as np
import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.simulate.keyed_random import KeyedRandom
from pipelines.simulate.truth import (
    broadcast_pairs,
    expected_pair_truth,
    lead_positions,
    leads_on,
    load_simulated_market,
    meets_rules,
    pair_truth,
    product_positions,
)
from tests.simulate.conftest import START

KEYS = ("lead", "product", "rank")


@pytest.fixture(scope="module")
def day(market):
    loaded = load_simulated_market(market.settings)
    return loaded, leads_on(loaded, START)


@pytest.fixture
def mood_of_each_pair(monkeypatch):
    """Let each pair have a lender of a mood of its own: few lenders' moods do not average out."""
    random, draw = np.random.default_rng(15), KeyedRandom.normal

    def draw_many(self, topic, *address):
        if topic == "mood":
            return random.standard_normal(address[0].size)
        return draw(self, topic, *address)

    monkeypatch.setattr(KeyedRandom, "normal", draw_many)


def test_the_truth_of_shown_pairs_equals_the_published_one(market, day):
    loaded, leads = day
    published = duckdb.sql(
        f"from read_parquet('{market.settings.truth}/date={START}/shown.parquet')"
    ).to_arrow_table()
    lead = lead_positions(leads, published["lead_id"].to_numpy().astype(str))
    product, rank = (published[name].to_numpy() for name in ("product", "rank"))
    truth = pair_truth(loaded, leads, lead, product, rank)
    assert lead.size > 1_000
    assert (lead == published["lead"].to_numpy()).all()
    assert meets_rules(loaded, leads, lead, product).all()
    for name in ("p_approve", "p_fund", "p_default", "apr", "amount"):
        assert (getattr(truth, name) == published[name].to_numpy()).all(), name


def test_an_offer_of_a_later_rank_is_taken_up_less_often(day):
    loaded, leads = day
    shown = broadcast_pairs(loaded, leads)
    only_offer = pair_truth(loaded, leads, shown.lead, shown.product)
    assert (only_offer.p_fund == only_offer.p_take).all()
    ranked = pair_truth(loaded, leads, shown.lead, shown.product, shown.rank)
    is_first = shown.rank == 1
    assert (ranked.p_approve == only_offer.p_approve).all()
    assert (ranked.p_fund[is_first] == only_offer.p_fund[is_first]).all()
    assert (ranked.p_fund[~is_first] < only_offer.p_fund[~is_first]).all()


def test_a_lead_takes_one_loan_at_most(day):
    loaded, leads = day
    shown = broadcast_pairs(loaded, leads)
    truth = pair_truth(loaded, leads, shown.lead, shown.product, shown.rank)
    p_any = np.bincount(truth.lead, truth.p_approve * truth.p_fund)
    p_none = np.ones(p_any.size)
    np.multiply.at(p_none, truth.lead, 1 - truth.p_approve * truth.p_take)
    assert p_any == pytest.approx(1 - p_none)


def test_no_lead_is_granted_more_than_requested_or_charged_more_than_is_lawful(day):
    loaded, leads = day
    shown = broadcast_pairs(loaded, leads)
    truth = pair_truth(loaded, leads, *(getattr(shown, name) for name in KEYS))
    assert (truth.amount <= leads.columns["amount"][truth.lead]).all()
    assert truth.apr.max() <= loaded.world.highest_rate(START) == 0.24


def test_an_average_over_what_is_hidden_equals_that_of_many_applicants_of_the_same_columns(
    day, mood_of_each_pair
):
    """One lead many times, each with traits of its own, and in a week of its own."""
    loaded, leads = day
    shown = broadcast_pairs(loaded, leads)
    times, random = 20_000, np.random.default_rng(14)
    for at in (10, 400, 900):
        lead, product = int(shown.lead[at]), np.full(times, shown.product[at])
        same = np.full(times, lead)
        traits = {name: column[same] for name, column in leads.traits.items()}
        copies = replace(
            leads,
            number=np.arange(times),
            columns={"amount": leads.columns["amount"][same]},
            traits=traits | {"hidden": random.standard_normal(times)},
        )
        truth = pair_truth(loaded, copies, np.arange(times), product)
        expected = expected_pair_truth(loaded, leads, same[:1], product[:1])
        funded = truth.p_approve * truth.p_take
        assert expected.p_approve[0] == pytest.approx(truth.p_approve.mean(), rel=0.02)
        assert expected.p_fund[0] == pytest.approx(funded.mean() / truth.p_approve.mean(), rel=0.02)
        lent = (funded * truth.amount).mean()
        assert expected.amount[0] == pytest.approx(lent / funded.mean(), rel=0.01)


def test_averages_over_what_is_hidden_add_up_to_the_truth_of_a_market(day, mood_of_each_pair):
    loaded, leads = day
    shown = broadcast_pairs(loaded, leads)
    expected = expected_pair_truth(loaded, leads, shown.lead, shown.product)
    draws = [pair_truth(loaded, leads, shown.lead, shown.product) for _ in range(16)]

    def total(truth):
        lent = truth.p_approve * truth.p_fund * truth.amount
        return [truth.p_approve.sum(), lent.sum(), (lent * truth.p_default).sum()]

    true = draws[0]
    assert (expected.apr == true.apr).all()
    found, mean = total(expected), np.mean([total(draw) for draw in draws], axis=0)
    assert found[:2] == pytest.approx(mean[:2], rel=0.03)
    assert found[2] == pytest.approx(mean[2], rel=0.08)  # some hundred loans, by amount
    assert np.corrcoef(true.p_default, expected.p_default)[0, 1] < 0.95, "nothing is hidden"


def test_unknown_keys_have_no_position(day):
    loaded, leads = day
    lead_ids = np.array([leads.columns["lead_id"][7], "nobody", ""])
    assert lead_positions(leads, lead_ids).tolist() == [7, -1, -1]
    assert product_positions(loaded, np.array(["loan-0002", "loan-9999"])).tolist() == [1, -1]


def test_a_home_that_was_not_simulated_has_no_truth(tmp_path):
    with pytest.raises(InputMissing):
        load_simulated_market(Settings(home=tmp_path))
