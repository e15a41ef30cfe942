"""Failures travel up the simulated supply chain, in published size; no feed tells the switch."""

import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipelines.bench.studies.supply_chain import CHANNELS, FirmMarket, measure
from pipelines.core.settings import Settings
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.keyed_random import KeyedRandom, rounded_sigmoid
from pipelines.simulate.market.leads import generate_leads
from pipelines.simulate.outcomes.ground_truth import credit_strength
from pipelines.simulate.population.chains import (
    LOSS_OF_ALL_BUYERS,
    OWN_FAILURE,
    Chains,
    firm_stability,
    month_number,
)
from pipelines.simulate.population.firms import chains_of, supply_links
from pipelines.simulate.world import Contagion, World
from tests.simulate.conftest import SIZE, bytes_below

FIRMS, MONTH = 40_000, 2025 * 12 + 6


@pytest.fixture(scope="module")
def chains() -> dict[Contagion, Chains]:
    return {hops: Chains(KeyedRandom(4), FIRMS, hops) for hops in Contagion}


EVERYONE = np.arange(FIRMS)


def buyers_state(chains: Chains, state: np.ndarray) -> np.ndarray:
    """Return a state of firms, averaged over each firm's buyers by their share."""
    buyers = chains.buyers(EVERYONE)
    return (buyers.share * state[buyers.number]).sum(axis=1)


def test_a_firm_that_loses_half_of_its_buyers_has_three_times_the_odds(chains):
    """Arata 2018: its probability approximately triples if half of its customers fail."""
    assert math.exp(LOSS_OF_ALL_BUYERS / 2) == pytest.approx(3, rel=0.01)
    one = chains[Contagion.HOP1]
    failed = buyers_state(one, one.is_failing(EVERYONE, MONTH).astype(float))
    assert one.failed_sales(EVERYONE, MONTH) == pytest.approx(failed, abs=1e-8)
    assert 0.05 < one.is_failing(EVERYONE, MONTH).mean() < 0.1


def test_the_chain_shows_at_most_as_much_as_published(tmp_path):
    """Berloco 2021: almost 20 points of recall by the network; Fujiwara 2008: 20% due to a link."""
    figures = np.array([knowledge_of_the_chain(tmp_path, seed) for seed in range(1, 9)])
    recall, due_to_buyers = figures.mean(axis=0)
    assert 0.12 < recall < 0.20
    assert 0.15 < due_to_buyers < 0.25


def knowledge_of_the_chain(home: Path, seed: int) -> tuple[float, float]:
    """Return what knowing the chain adds to recall, and the share of defaults due to buyers."""
    world = World(Settings(home=home), 2_500, 3, CHANNELS, seed)
    market, day = FirmMarket(world, is_shuffled=False), date(2025, 6, 2)
    leads = generate_leads(world, market.channels, market.lenders, day)
    traits = {name: column[leads.traits["is_firm"]] for name, column in leads.traits.items()}
    strength = credit_strength(traits, leads.columns["amount"][leads.traits["is_firm"]])
    number, month = traits["applicant"], month_number(day)
    chains = chains_of(world)
    of_itself = -2.8 - 0.45 * strength - 0.5 * traits["stability"]
    without_chain = of_itself + OWN_FAILURE * chains.is_failing(number, month)
    with_chain = of_itself + traits["chain"]
    hidden = -0.6 * traits["hidden"]
    truth = rounded_sigmoid(with_chain + hidden)
    lost = LOSS_OF_ALL_BUYERS * chains.failed_sales(number, month)
    saved = truth - rounded_sigmoid(with_chain + hidden - lost)
    recall = [measure(known, truth)["recall"] for known in (without_chain, with_chain)]
    return recall[1] - recall[0], float(saved.sum() / truth.sum())


def test_without_contagion_a_firm_does_not_depend_on_its_buyers(chains):
    none = chains[Contagion.NONE]
    assert not none.failed_sales(EVERYONE, MONTH).any()
    of_buyers = buyers_state(none, firm_stability(KeyedRandom(4), EVERYONE))
    for state in (none.default_log_odds, none.late_log_odds):
        assert abs(np.corrcoef(state(EVERYONE, MONTH), of_buyers)[0, 1]) < 0.02


def test_a_second_hop_reaches_the_sellers_of_sellers_at_half_the_strength(chains):
    one, two = (chains[hops] for hops in (Contagion.HOP1, Contagion.HOP2))
    first, both = (each.failed_sales(EVERYONE, MONTH) for each in (one, two))
    assert both == pytest.approx(first + 0.5 * buyers_state(one, first), abs=1e-6)
    assert (both > first).mean() > 0.1


def test_a_firm_that_is_paid_late_pays_late(chains):
    none, one = (chains[hops] for hops in (Contagion.NONE, Contagion.HOP1))
    of_buyers = buyers_state(one, none.late_log_odds(EVERYONE, MONTH))
    assert np.corrcoef(one.late_log_odds(EVERYONE, MONTH), of_buyers)[0, 1] > 0.3


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_share_of_sellers_is_the_share_of_firms_that_invoice_in_a_month(tmp_path, share):
    world = World(Settings(home=tmp_path), 500, 3, CHANNELS, 2, seller_share=share)
    links = supply_links(world, date(2025, 3, 1), date(2025, 4, 1), np.arange(world.firms))
    assert len(links["seller_id"].unique()) == links.num_rows
    assert links.num_rows / world.firms == pytest.approx(share, abs=0.02)


def test_a_sector_stays_in_its_state_for_about_a_year(chains):
    industries = np.arange(10)
    states = [chains[Contagion.HOP1].sector_state(industries, MONTH + back) for back in range(48)]
    quarter, two_years = (
        np.corrcoef(np.ravel(states[:-lag:3]), np.ravel(states[lag::3]))[0, 1] for lag in (3, 24)
    )
    assert quarter > 0.5
    assert abs(two_years) < 0.4


def test_no_feed_tells_the_switch_and_only_links_and_outcomes_differ(tmp_path):
    small = SIZE | {"days": 1, "leads_per_day": 200}
    written = {}
    for contagion in Contagion:
        settings = Settings(home=tmp_path / contagion)
        simulate(settings, SimulationPlan(**small, contagion=contagion, corruption=0))
        written[contagion] = bytes_below(settings.landing)
    feeds = [{name.split("/")[0] for name in files} for files in written.values()]
    assert feeds[0] == feeds[1] == feeds[2]
    differing = {
        name.split("/")[0]
        for name, content in written[Contagion.NONE].items()
        if written[Contagion.HOP1].get(name) != content
    }
    assert "supply_links" in differing
    assert differing <= {"supply_links", "outcomes"}
    assert not any(b"contagion" in content for content in written[Contagion.HOP2].values())
