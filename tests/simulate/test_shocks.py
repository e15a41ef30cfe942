"""A shock changes what it names, from its date on, and nothing else; the price of leads stays."""

from datetime import date, timedelta

import numpy as np
import pytest

from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.simulate import shocks
from pipelines.simulate.population.firms import FALLING_INDUSTRY
from pipelines.simulate.shocks import Shock
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.truth import broadcast_pairs, leads_on, pair_truth
from pipelines.simulate.world import World
from tests.simulate.conftest import bytes_below

SHOCK_DAY = date(2025, 3, 12)
BEFORE = SHOCK_DAY - timedelta(days=1)


def build_market(home, *names) -> SimulatedMarket:
    shock_list = tuple(Shock(name, SHOCK_DAY) for name in names)
    return SimulatedMarket(World(Settings(home=home), 3_000, 20, 6, 3, shock_list))


@pytest.fixture
def compare(tmp_path):
    """Return a function that gives market, leads and truth of a day without and with a shock."""

    def describe(name, day):
        markets = build_market(tmp_path), build_market(tmp_path, name)
        leads = [leads_on(market, day) for market in markets]
        pairs = broadcast_pairs(markets[0], leads[0])
        truths = [
            pair_truth(market, of_day, pairs.lead, pairs.product)
            for market, of_day in zip(markets, leads, strict=True)
        ]
        return list(zip(markets, leads, truths, strict=True))

    return describe


@pytest.mark.parametrize("name", sorted(shocks.NAMES))
def test_the_day_before_is_the_same(compare, name):
    (_, calm, before), (_, leads, after) = compare(name, BEFORE)
    for column, values in calm.columns.items():
        assert np.array_equal(values, leads.columns[column], equal_nan=values.dtype.kind in "fM")
    assert all(np.array_equal(getattr(before, n), getattr(after, n)) for n in vars(before))


def test_a_bad_channel_brings_less_reliable_people_and_fake_leads(compare):
    (market, calm, _), (_, leads, _) = compare(shocks.CHANNEL_TURNS_BAD, SHOCK_DAY)
    is_bad = leads.channel == np.argmax(market.channels.share)
    assert is_bad.sum() > 300
    fake_before, fake_after = (of.traits["is_fake"][is_bad].mean() for of in (calm, leads))
    assert fake_after > 0.1 > fake_before
    before, after = (np.nanmean(of.columns["bureau_score"][is_bad]) for of in (calm, leads))
    assert before - after > 10
    is_same = calm.columns["id_number"] == leads.columns["id_number"]
    assert is_same[~is_bad].mean() > 0.97  # the others repeat a lead of the bad channel


def test_firms_of_a_falling_sector_sell_less_are_declined_and_default(compare):
    (_, calm, before), (_, leads, after) = compare(shocks.SECTOR_FALLS, SHOCK_DAY)
    is_falling = leads.traits["is_firm"] & (leads.traits["industry"] == FALLING_INDUSTRY)
    revenue = [of.columns["revenue_annual"] for of in (calm, leads)]
    assert (revenue[1][is_falling] < revenue[0][is_falling]).all()
    assert np.array_equal(revenue[0][~is_falling], revenue[1][~is_falling], equal_nan=True)
    pair = is_falling[after.lead]
    assert pair.sum() > 100
    assert after.p_approve[pair].mean() < 0.7 * before.p_approve[pair].mean()
    assert (after.p_default[pair] > before.p_default[pair]).all()
    assert (after.p_default[~pair] == before.p_default[~pair]).all()


def test_an_institution_that_tightens_declines_more_and_the_others_do_not(compare):
    (market, _, before), (_, _, after) = compare(shocks.INSTITUTION_TIGHTENS, SHOCK_DAY)
    own = market.lenders.is_largest[market.products.lender[after.product]]
    assert own.sum() > 50
    assert after.p_approve[own].mean() < 0.5 * before.p_approve[own].mean()
    assert (after.p_approve[~own] == before.p_approve[~own]).all()


def test_a_price_cap_lowers_every_rate_and_no_cost(compare, tmp_path):
    (_, _, before), (_, _, after) = compare(shocks.PRICE_CAP, SHOCK_DAY)
    assert before.apr.max() == 0.36
    assert after.apr.max() == 0.24
    spend = []
    for names in ((), (shocks.PRICE_CAP,)):
        home = tmp_path / f"{len(names)}"
        build_market(home, *names).write_channel_spend(SHOCK_DAY)
        spend.append(bytes_below(home / "landing" / "channel_spend"))
    assert spend[0] == spend[1]
    assert spend[0]


@pytest.mark.parametrize("text", ["sector_rises@2025-03-12", "sector_falls", "sector_falls@soon"])
def test_an_invalid_shock_is_wrong_use(text):
    with pytest.raises(UsageError, match="NAME@DATE"):
        Shock.parse(text)
