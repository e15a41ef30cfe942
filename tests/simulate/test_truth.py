"""The truth of any pair can be computed again from its address."""

import duckdb
import numpy as np
import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.simulate.truth import (
    broadcast_pairs,
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


def test_unknown_keys_have_no_position(day):
    loaded, leads = day
    lead_ids = np.array([leads.columns["lead_id"][7], "nobody", ""])
    assert lead_positions(leads, lead_ids).tolist() == [7, -1, -1]
    assert product_positions(loaded, np.array(["loan-0002", "loan-9999"])).tolist() == [1, -1]


def test_a_home_that_was_not_simulated_has_no_truth(tmp_path):
    with pytest.raises(InputMissing):
        load_simulated_market(Settings(home=tmp_path))
