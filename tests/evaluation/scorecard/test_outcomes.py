"""Figures by reported outcomes, on a day small enough to compute by hand."""

from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import compute_scorecard
from tests.evaluation.scorecard.hand_written_market import DAY, write_market
from tests.helpers.lake import at, write_counted_outcomes, write_feed

LATER = DAY.replace(day=20)
X, Y, Z = (
    {"institution_id": f"bank-{number}", "product_id": f"loan-{number}"} for number in (1, 2, 3)
)
ONE, TWO, THREE = (
    {"channel_id": channel, "lead_id": number, "amount": 15_000.0}
    for channel, number in (("feed", "1"), ("feed", "2"), ("search", "1"))
)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Three leads, one excluded; three matches; an answer to each, one of them corrected."""
    matches = [
        ONE | X | {"match_id": "m1", "rank": 1, "suggested_apr": 0.2},
        ONE | Y | {"match_id": "m2", "rank": 2, "suggested_apr": 0.2},
        TWO | Z | {"match_id": "m3", "rank": 1, "suggested_apr": 0.12},
    ]
    settings = write_market(
        tmp_path,
        [ONE, TWO, THREE | {"exclusion_stage": "consent"}],
        [
            X | {"price_model": "cpl", "price": 20.0, "daily_quota": 2},
            Y | {"price_model": "cpa", "price": 100.0, "daily_quota": 2},
            Z | {"price_model": "cps", "price": 0.02, "daily_quota": 2},
        ],
        matches,
        {"feed": 77.0, "search": 30.0},
    )
    campaign = {"channel_id": "feed", "date": DAY, "campaign_id": "c1"}
    write_feed(settings, "channel_spend", DAY, [campaign | {"spend": 80.0}])
    write_feed(settings, "channel_spend", LATER, [campaign | {"spend": 90.0}])
    first, second = at("2026-02-04 10:00"), at("2026-02-06 10:00")
    x, y, z = (
        {"channel_id": "feed", "lead_id": lead, "currency": "CNY"} | product
        for lead, product in (("1", X), ("1", Y), ("2", Z))
    )
    outcomes = [
        x | {"event": "approved", "recorded_at": first},
        x | {"event": "funded", "recorded_at": second, "amount": 10_000.0, "apr": 0.24},
        x | {"event": "overdue_90", "recorded_at": at("2026-02-19 10:00")},
        y | {"event": "approved", "recorded_at": first},
        y | {"event": "declined", "recorded_at": second},
        z | {"event": "applied", "recorded_at": first},
        z | {"event": "funded", "recorded_at": second, "amount": 20_000.0},
        X | {"channel_id": "search", "lead_id": "1", "event": "funded", "recorded_at": first},
    ]
    write_counted_outcomes(settings, LATER, outcomes)
    return settings


BY_HAND = {
    "leads": 3,
    "shown": 3,
    "approved": 2.0,  # m1, and m3 for it was funded; m2's approval was taken back
    "funded": 2.0,
    "approval_rate": 0.666667,
    "cost_per_funded": 60.0,  # 90 as corrected, and 30 that a lead of `search` had cost before
    "cost_share_of_yield": 0.025,  # 120 of 10,000 x 0.24 + 20,000 x 0.12, the rate suggested
    "revenue": 420.0,  # 20 for the lead, nothing for no approval, 2% of 20,000
    "default_rate": 0.5,
    "institution_yield": -0.0566667,  # 4,800 - 65% of 10,000, on 30,000
    "best_offer_share": None,
    "quota_use": 0.5,
    "value_share_of_oracle": None,
    "fee_share_of_yield": 0.0875,  # 420 of 4,800
    "surplus": None,
    "surplus_share_of_oracle": None,
    "surplus_share_of_attainable": None,
    "first_offer_is_persons_best": None,
    "hopeless_share": None,
    "lenders_worse_than_broadcast": None,
    "least_served_lender": None,
}


def test_figures_equal_a_computation_by_hand(home: Settings):
    found = compute_scorecard(home, DAY, DAY, with_truth=False)
    assert list(found) == ["banyan"]
    assert {name: found["banyan"][name] for name in BY_HAND} == BY_HAND


def test_an_outcome_that_does_not_count_changes_no_figure(home: Settings):
    """The lake has what a lender sent; only the marts know what counts of it."""
    before = compute_scorecard(home, DAY, DAY, with_truth=False)
    reported = {"recorded_at": at("2026-02-05 10:00"), "history_kind": None}
    invented = {"event": "funded", "amount": 90_000.0, "currency": "CNY", "apr": 0.24} | reported
    write_feed(
        home,
        "outcomes",
        LATER,
        [invented | Y | {"match_id": "m2"}, invented | Z | {"channel_id": "feed", "lead_id": "2"}],
    )
    assert compute_scorecard(home, DAY, DAY, with_truth=False) == before


def test_a_match_without_an_answer_is_not_approved(home: Settings):
    write_counted_outcomes(home, LATER, [])
    found = compute_scorecard(home, DAY, DAY, with_truth=False)["banyan"]
    assert (found["shown"], found["approved"], found["revenue"]) == (3, 0, 20)
    assert found["cost_per_funded"] is None
