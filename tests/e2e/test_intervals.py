"""Intervals of a day's pairs contain the true probabilities of the simulated market.

The approval model is left out: in a market's first days it is a stated prior, twice too high in
this market (docs/figures.md has the coverage once a model is trained).
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
from tests.e2e.conftest import CompletedRun
from tests.e2e.market import MONDAY

MIN_PAIRS = 500
MIN_COVERAGE = 0.9


def load_pairs_with_truth(settings: Settings) -> tuple[pa.Table, PairTruth]:
    """Return the day's pairs of simulated leads and products, and their truth.

    A pair is the only offer of its lead, as in scoring.
    """
    pairs = pq.read_table(settings.day_folder(settings.pairs, MONDAY) / "pairs.parquet")
    market = load_simulated_market(settings)
    leads_of_day = leads_on(market, MONDAY)
    lead, product = (
        np.asarray(pairs[name].to_pylist(), np.str_) for name in ("lead_id", "product_id")
    )
    leads, products = lead_positions(leads_of_day, lead), product_positions(market, product)
    known = (leads >= 0) & (products >= 0)
    truth = pair_truth(market, leads_of_day, leads[known], products[known])
    return pairs.filter(pa.array(known)), truth


@pytest.fixture(scope="module")
def pairs_with_truth(ran: CompletedRun) -> tuple[pa.Table, PairTruth]:
    return load_pairs_with_truth(Settings(home=ran.home))


@pytest.mark.parametrize(("name", "true_name"), [("pd", "p_default"), ("p_fund", "p_take")])
def test_intervals_of_the_pairs_contain_the_truth(pairs_with_truth, name: str, true_name: str):
    pairs, shown = pairs_with_truth
    truth = getattr(shown, true_name)
    low, predicted, high = (pairs[f"{name}{end}"].to_numpy() for end in ("_low", "", "_high"))
    assert len(pairs) > MIN_PAIRS
    assert ((low <= predicted) & (predicted <= high)).all()
    assert ((low <= truth) & (truth <= high)).mean() > MIN_COVERAGE
    assert np.abs(predicted - truth).mean() > 0.01, (
        "the predictions equal the truth, so the test shows nothing"
    )
