"""A simulated market whose day is matched: each lead is offered the first products it fits."""

from dataclasses import dataclass

import numpy as np
import pytest

from pipelines.core.arrays import IntArray
from pipelines.core.settings import Settings
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.market.catalogue import product_table
from pipelines.simulate.market.leads import DayLeads
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.truth import leads_on, load_simulated_market, meets_rules
from tests.evaluation.scorecard.markets import DAY, write_market

LEADS, OFFERS, QUOTA = 300, 2, 20
PREDICTED = {"p_approve": 0.35, "p_fund": 0.6, "pd": 0.05}


@dataclass(frozen=True)
class Matched:
    """A home, and by position who was offered what in it."""

    settings: Settings
    world: SimulatedMarket
    asked: DayLeads
    lead: IntArray
    product: IntArray
    rank: IntArray


@pytest.fixture(scope="session")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Matched:
    """Every lead is offered its first two products, whatever they are worth; quotas are short."""
    settings = Settings(home=tmp_path_factory.mktemp("simulated"))
    simulate(settings, SimulationPlan(DAY, 1, LEADS, 10, 3, 11))
    world = load_simulated_market(settings)
    asked = leads_on(world, DAY)
    catalogue = product_table(world.world, world.products, DAY)
    lead, product = (axis.ravel() for axis in np.indices((LEADS, catalogue.num_rows)))
    is_fit = meets_rules(world, asked, lead, product)
    lead, product = lead[is_fit], product[is_fit]
    lender = world.products.lender[product]
    keys = [
        {
            "channel_id": str(world.channels.name[asked.channel[of_lead]]),
            "lead_id": str(asked.columns["lead_id"][of_lead]),
            "amount": float(asked.columns["amount"][of_lead]),
            "term_months": int(asked.columns["term_months"][of_lead]),
            "segment": str(asked.columns["segment"][of_lead]),
        }
        for of_lead in range(LEADS)
    ]
    products = [
        row | {"institution_id": str(world.lenders.name[row["lender"]]), "daily_quota": QUOTA}
        for row in catalogue.to_pylist()
    ]
    pairs = [
        keys[of_lead]
        | {"institution_id": products[those]["institution_id"]}
        | {"product_id": products[those]["product_id"]}
        for of_lead, those in zip(lead, product, strict=True)
    ]
    new_lender = (np.diff(lead, prepend=-1) != 0) | (np.diff(lender, prepend=-1) != 0)
    place = np.cumsum(new_lender)
    rank = place - place[np.searchsorted(lead, lead)] + 1
    offered = new_lender & (rank <= OFFERS)
    write_market(
        settings.home,
        keys,
        products,
        [
            pairs[row] | PREDICTED | {"rank": int(rank[row]), "match_id": f"{row}"}
            for row in np.flatnonzero(offered)
        ],
        {str(name): 30.0 for name in world.channels.name},
    )
    return Matched(settings, world, asked, lead[offered], product[offered], rank[offered])
