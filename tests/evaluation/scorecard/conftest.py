"""A simulated market with a matched day: each lead is offered its first eligible products."""

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
from tests.evaluation.scorecard.hand_written_market import DAY, write_market

LEADS, OFFERS, QUOTA = 300, 2, 20
PREDICTED = {"p_approve": 0.35, "p_fund": 0.6, "pd": 0.05}


@dataclass(frozen=True)
class Matched:
    """A home with its simulated market, and the lead, product and rank of each offer."""

    settings: Settings
    world: SimulatedMarket
    leads: DayLeads
    lead: IntArray
    product: IntArray
    rank: IntArray


@pytest.fixture(scope="session")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Matched:
    """Every lead is offered its first two eligible products; quotas are short."""
    settings = Settings(home=tmp_path_factory.mktemp("simulated"))
    simulate(settings, SimulationPlan(DAY, 1, LEADS, 10, 3, 11))
    world = load_simulated_market(settings)
    leads = leads_on(world, DAY)
    catalogue = product_table(world.world, world.products, DAY)
    lead, product = (axis.ravel() for axis in np.indices((LEADS, catalogue.num_rows)))
    is_eligible = meets_rules(world, leads, lead, product)
    lead, product = lead[is_eligible], product[is_eligible]
    lender = world.products.lender[product]
    keys = [
        {
            "channel_id": str(world.channels.name[leads.channel[at]]),
            "lead_id": str(leads.columns["lead_id"][at]),
            "amount": float(leads.columns["amount"][at]),
            "term_months": int(leads.columns["term_months"][at]),
            "segment": str(leads.columns["segment"][at]),
        }
        for at in range(LEADS)
    ]
    products = [
        row | {"institution_id": str(world.lenders.name[row["lender"]]), "daily_quota": QUOTA}
        for row in catalogue.to_pylist()
    ]
    pairs = [
        keys[at]
        | {"institution_id": products[row]["institution_id"]}
        | {"product_id": products[row]["product_id"]}
        for at, row in zip(lead, product, strict=True)
    ]
    new_lender = (np.diff(lead, prepend=-1) != 0) | (np.diff(lender, prepend=-1) != 0)
    lenders_so_far = np.cumsum(new_lender)
    rank = lenders_so_far - lenders_so_far[np.searchsorted(lead, lead)] + 1
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
    return Matched(settings, world, leads, lead[offered], product[offered], rank[offered])
