"""The truth of any pair can be drawn again, by whoever may know it."""

import duckdb
import numpy as np
import pytest

from pipelines.errors import InputMissing
from pipelines.settings import Settings
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


def test_an_offer_further_down_or_among_more_is_taken_less_often(drawn):
    found, asked = drawn
    shown = broadcast_of(found, asked)
    first, none = np.ones_like(shown.lead), np.zeros_like(shown.lead)

    def taken(rank, rivals):
        return truth_of(found, asked, shown.lead, shown.product, rank, rivals)

    alone = taken(first, none)
    assert (taken(first + 1, none).p_fund < alone.p_fund).all()
    assert (taken(first, none + 1).p_fund < alone.p_fund).all()
    assert (taken(first + 1, none + 1).p_approve == alone.p_approve).all()


def test_keys_that_the_world_does_not_have_have_no_position(drawn):
    found, asked = drawn
    leads = np.array([asked.columns["lead_id"][7], "nobody", ""])
    assert lead_positions(asked, leads).tolist() == [7, -1, -1]
    assert product_positions(found, np.array(["loan-0002", "loan-9999"])).tolist() == [1, -1]


def test_a_home_that_was_not_simulated_has_no_truth(tmp_path):
    with pytest.raises(InputMissing, match="holds no simulated market"):
        world_of(Settings(home=tmp_path))
