"""A shock changes what it names, from its date on, and nothing else; the price of leads stays."""

from datetime import date, timedelta

import numpy as np
import pytest

from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.simulate import shocks
from pipelines.simulate.population.firms import FALLEN
from pipelines.simulate.shocks import Shock
from pipelines.simulate.simulator import Market
from pipelines.simulate.truth import asked_on, broadcast_of, truth_of
from pipelines.simulate.world import World
from tests.simulate.conftest import bytes_below

STRUCK = date(2025, 3, 12)
BEFORE = STRUCK - timedelta(days=1)


def market(home, *names) -> Market:
    struck = tuple(Shock(name, STRUCK) for name in names)
    return Market(World(Settings(home=home), 3_000, 20, 6, 3, struck))


@pytest.fixture
def told(tmp_path):
    """Return what tells, of a day with the shock and without, its leads and the same pairs."""

    def tell(name, day):
        worlds = market(tmp_path), market(tmp_path, name)
        asked = [asked_on(world, day) for world in worlds]
        pairs = broadcast_of(worlds[0], asked[0])
        truths = [
            truth_of(world, of_day, pairs.lead, pairs.product)
            for world, of_day in zip(worlds, asked, strict=True)
        ]
        return list(zip(worlds, asked, truths, strict=True))

    return tell


@pytest.mark.parametrize("name", sorted(shocks.NAMES))
def test_the_day_before_is_the_same(told, name):
    (_, calm, before), (_, asked, struck) = told(name, BEFORE)
    for column, values in calm.columns.items():
        assert np.array_equal(values, asked.columns[column], equal_nan=values.dtype.kind in "fM")
    assert all(np.array_equal(getattr(before, n), getattr(struck, n)) for n in vars(before))


def test_a_bad_channel_brings_shakier_people_and_leads_that_nobody_sent(told):
    (world, calm, _), (_, asked, _) = told(shocks.CHANNEL_TURNS_BAD, STRUCK)
    is_bad = asked.channel == np.argmax(world.channels.share)
    assert is_bad.sum() > 300
    assert asked.who["is_invented"][is_bad].mean() > 0.1 > calm.who["is_invented"][is_bad].mean()
    fell = np.nanmean(calm.columns["bureau_score"][is_bad]) - np.nanmean(
        asked.columns["bureau_score"][is_bad]
    )
    assert fell > 10
    again = calm.columns["id_number"] == asked.columns["id_number"]
    assert again[~is_bad].mean() > 0.97  # those who come again after the bad channel's


def test_firms_of_a_fallen_sector_sell_less_are_refused_and_fail(told):
    (_, calm, before), (_, asked, after) = told(shocks.SECTOR_FALLS, STRUCK)
    is_hit = asked.who["is_firm"] & (asked.who["industry"] == FALLEN)
    revenue = [of.columns["revenue_annual"] for of in (calm, asked)]
    assert (revenue[1][is_hit] < revenue[0][is_hit]).all()
    assert np.array_equal(revenue[0][~is_hit], revenue[1][~is_hit], equal_nan=True)
    hit = is_hit[after.lead]
    assert hit.sum() > 100
    assert after.p_approve[hit].mean() < 0.7 * before.p_approve[hit].mean()
    assert (after.p_default[hit] > before.p_default[hit]).all()
    assert (after.p_default[~hit] == before.p_default[~hit]).all()


def test_an_institution_that_tightens_refuses_and_the_others_do_not(told):
    (world, _, before), (_, _, after) = told(shocks.INSTITUTION_TIGHTENS, STRUCK)
    own = world.lenders.is_largest[world.products.lender[after.product]]
    assert own.sum() > 50
    assert after.p_approve[own].mean() < 0.5 * before.p_approve[own].mean()
    assert (after.p_approve[~own] == before.p_approve[~own]).all()


def test_a_price_cap_lowers_every_price_and_no_cost(told, tmp_path):
    (_, _, before), (_, _, after) = told(shocks.PRICE_CAP, STRUCK)
    assert before.apr.max() == 0.36
    assert after.apr.max() == 0.24
    spent = []
    for name in ((), (shocks.PRICE_CAP,)):
        home = tmp_path / f"{len(name)}"
        world = market(home, *name)
        world.land_spend(STRUCK)
        spent.append(bytes_below(home / "landing" / "channel_spend"))
    assert spent[0] == spent[1]
    assert spent[0]


@pytest.mark.parametrize("text", ["sector_rises@2025-03-12", "sector_falls", "sector_falls@soon"])
def test_a_shock_that_is_none_is_refused_with_what_there_is(text):
    with pytest.raises(UsageError, match="NAME@DATE"):
        Shock.parse(text)
