"""The policies that the scorecard compares obey the limits that the plan obeys."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from expectations import policy
from pipelines.core.database import connect
from pipelines.evaluation.scorecard.market import DayMarket, load_market
from pipelines.evaluation.scorecard.policies import rank_by_policy
from pipelines.evaluation.scorecard.truth import PairValues
from tests.evaluation.scorecard.hand_written_market import DAY, write_market

REFERENCES = ("broadcast", "rules", "oracle", "attainable")
LEADS = [
    {"channel_id": channel, "lead_id": f"{number}", "amount": 15_000.0}
    for channel in ("feed", "search")
    for number in range(6)
]
PRODUCTS = [
    {"institution_id": f"bank-{number // 2}", "product_id": f"loan-{number}", "daily_quota": 12}
    for number in range(12)
]
ONE_PHONE = ("feed", "0")
SHARED = [
    {"channel_id": channel, "lead_id": lead}
    | {"first_channel_id": ONE_PHONE[0], "first_lead_id": ONE_PHONE[1]}
    for channel, lead in (("feed", "1"), ("search", "3"))
]
"""Three persons have one telephone."""


def load(home: Path, shared: list[dict[str, str]]) -> DayMarket:
    settings = write_market(home, LEADS, PRODUCTS, [], {"feed": 10.0, "search": 10.0}, shared)
    with connect(settings) as connection:
        return load_market(connection, settings, DAY)


def draw_values(market: DayMarket, seed: int) -> PairValues:
    size = market.lead.size
    surplus = np.random.default_rng(seed).uniform(1, 100, size)
    nothing = np.zeros(size)
    certain = np.ones_like(surplus)
    return PairValues(nothing, nothing, surplus, nothing, surplus, certain, certain)


@pytest.mark.parametrize("seed", range(5))
def test_leads_of_one_phone_share_the_offers_of_one_lead(tmp_path: Path, seed: int):
    market = load(tmp_path, SHARED)
    values = draw_values(market, seed)
    most = policy.value().max_offers_per_lead
    keys = market.leads.select(["channel_id", "lead_id"]).to_pylist()
    names = [tuple(row.values()) for row in keys]
    sharing = {ONE_PHONE, ("feed", "1"), ("search", "3")}
    for name in REFERENCES:
        rank = rank_by_policy(market, values, values)[name]
        shown = np.flatnonzero(rank)
        of_phone = [row for row in shown if names[market.lead[row]] in sharing]
        assert 1 <= len(of_phone) <= most, name
        lenders = [int(market.institution[market.product[row]]) for row in of_phone]
        assert len(set(lenders)) == len(lenders), name
        offers = Counter(names[market.lead[row]] for row in shown)
        assert offers["feed", "4"] == most, name
        for lead in set(market.lead[shown].tolist()):
            ranks = sorted(rank[shown][market.lead[shown] == lead].tolist())
            assert ranks == list(range(1, len(ranks) + 1)), name


def test_without_a_shared_phone_every_lead_has_its_own_offers(tmp_path: Path):
    market = load(tmp_path, [])
    values = draw_values(market, 1)
    for name in REFERENCES:
        shown = np.flatnonzero(rank_by_policy(market, values, values)[name])
        offers = np.bincount(market.lead[shown], minlength=len(LEADS))
        assert (offers == policy.value().max_offers_per_lead).all(), name
