"""The truth of any pair can be drawn again, by whoever may know it."""

import duckdb
import numpy as np
import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.simulate.truth import (
    asked_on,
    broadcast_of,
    fits,
    lead_positions,
    product_positions,
    truth_of,
    world_of,
)
from tests.simulate.conftest import START

KEYS = ("lead", "product", "rank")


@pytest.fixture(scope="module")
def drawn(market):
    found = world_of(market.settings)
    return found, asked_on(found, START)


def test_the_truth_of_the_pairs_that_were_shown_is_the_one_that_was_kept(market, drawn):
    found, asked = drawn
    kept = duckdb.sql(
        f"from read_parquet('{market.settings.truth}/date={START}/shown.parquet')"
    ).to_arrow_table()
    lead = lead_positions(asked, kept["lead_id"].to_numpy().astype(str))
    product, rank = (kept[name].to_numpy() for name in ("product", "rank"))
    again = truth_of(found, asked, lead, product, rank)
    assert lead.size > 1_000
    assert (lead == kept["lead"].to_numpy()).all()
    assert fits(found, asked, lead, product).all()
    for name in ("p_approve", "p_fund", "p_default", "apr", "amount"):
        assert (getattr(again, name) == kept[name].to_numpy()).all(), name


def test_an_offer_further_down_or_behind_another_is_taken_less_often(drawn):
    found, asked = drawn
    shown = broadcast_of(found, asked)
    alone = truth_of(found, asked, shown.lead, shown.product)
    assert (alone.p_fund == alone.p_take).all()
    among = truth_of(found, asked, shown.lead, shown.product, shown.rank)
    is_first = shown.rank == 1
    assert (among.p_approve == alone.p_approve).all()
    assert (among.p_fund[is_first] == alone.p_fund[is_first]).all()
    assert (among.p_fund[~is_first] < alone.p_fund[~is_first]).all()


def test_a_lead_takes_one_loan_at_most(drawn):
    found, asked = drawn
    shown = broadcast_of(found, asked)
    truth = truth_of(found, asked, shown.lead, shown.product, shown.rank)
    chance = np.bincount(truth.lead, truth.p_approve * truth.p_fund)
    none = np.ones(chance.size)
    np.multiply.at(none, truth.lead, 1 - truth.p_approve * truth.p_take)
    assert chance == pytest.approx(1 - none)


def test_nobody_is_granted_more_than_asked_for_or_charged_more_than_is_lawful(drawn):
    found, asked = drawn
    truth = truth_of(found, asked, *(getattr(broadcast_of(found, asked), n) for n in KEYS))
    assert (truth.amount <= asked.columns["amount"][truth.lead]).all()
    assert truth.apr.max() <= found.world.dearest(START) == 0.24


def test_keys_that_the_world_does_not_have_have_no_position(drawn):
    found, asked = drawn
    leads = np.array([asked.columns["lead_id"][7], "nobody", ""])
    assert lead_positions(asked, leads).tolist() == [7, -1, -1]
    assert product_positions(found, np.array(["loan-0002", "loan-9999"])).tolist() == [1, -1]


def test_a_home_that_was_not_simulated_has_no_truth(tmp_path):
    with pytest.raises(InputMissing, match="holds no simulated market"):
        world_of(Settings(home=tmp_path))
