"""Intervals of a day's pairs hold the true probabilities of the simulated world.

Those of approval are not among them: in a market's first days it is a stated prior, which says
twice too much in this world (docs/figures.md: what they hold once a model has learned).
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.settings import Settings
from pipelines.simulate.outcomes.ground_truth import PairTruth
from pipelines.simulate.truth import (
    lead_positions,
    leads_on,
    load_simulated_market,
    pair_truth,
    product_positions,
)
from tests.e2e.conftest import Ran
from tests.e2e.market import MONDAY

FEWEST_PAIRS = 500
COVERED = 0.9


def by_truth(settings: Settings) -> tuple[pa.Table, PairTruth]:
    """Return the pairs of a day whose lead and product the world knows, and their truth.

    Each is taken as its lead's only offer, as it is scored.
    """
    pairs = pq.read_table(settings.day_folder(settings.pairs, MONDAY) / "pairs.parquet")
    market = load_simulated_market(settings)
    asked = leads_on(market, MONDAY)
    lead, product = (
        np.asarray(pairs[name].to_pylist(), np.str_) for name in ("lead_id", "product_id")
    )
    leads, products = lead_positions(asked, lead), product_positions(market, product)
    known = (leads >= 0) & (products >= 0)
    truth = pair_truth(market, asked, leads[known], products[known])
    return pairs.filter(pa.array(known)), truth


@pytest.fixture(scope="module")
def judged(ran: Ran) -> tuple[pa.Table, PairTruth]:
    return by_truth(Settings(home=ran.home))


@pytest.mark.parametrize(("name", "of_truth"), [("pd", "p_default"), ("p_fund", "p_take")])
def test_intervals_of_a_day_s_pairs_hold_the_truth(judged, name: str, of_truth: str):
    pairs, shown = judged
    truth = getattr(shown, of_truth)
    low, said, high = (pairs[f"{name}{end}"].to_numpy() for end in ("_low", "", "_high"))
    assert len(pairs) > FEWEST_PAIRS
    assert ((low <= said) & (said <= high)).all()
    assert ((low <= truth) & (truth <= high)).mean() > COVERED
    assert np.abs(said - truth).mean() > 0.01, "nothing was predicted that could have been wrong"
