"""Figures follow from sums over leads, intervals from a bootstrap over leads."""

import numpy as np
import pytest

from pipelines.evaluation.scorecard.figures import compute_figures

OF_LEADS = {
    "cost": [10.0, 20.0, 30.0, 40.0],
    "shown": [2.0, 1.0, 1.0, 0.0],
    "approved": [1.0, 1.0, 0.0, 0.0],
    "funded": [1.0, 0.5, 0.0, 0.0],
    "revenue": [50.0, 25.0, 5.0, 0.0],
    "interest": [300.0, 200.0, 0.0, 0.0],
    "net_interest": [200.0, 100.0, 0.0, 0.0],
    "lent": [2_000.0, 1_000.0, 0.0, 0.0],
    "defaulted": [0.1, 0.05, 0.0, 0.0],
    "best_shown": [1.0, 0.0, 0.0, 0.0],
    "has_best": [1.0, 1.0, 0.0, 0.0],
    "value": [30.0, 30.0, 0.0, 0.0],
    "oracle_value": [40.0, 40.0, 0.0, 0.0],
    "surplus": [25.0, 20.0, -5.0, 0.0],
    "only_surplus": [27.0, 22.0, -4.0, 0.0],
    "oracle_surplus": [40.0, 50.0, 0.0, 0.0],
    "attainable_surplus": [30.0, 30.0, 0.0, 0.0],
    "matched": [1.0, 1.0, 1.0, 0.0],
    "first_is_best": [1.0, 1.0, 0.0, 0.0],
    "hopeless": [0.0, 0.0, 1.0, 0.0],
}
SUMS = {name: np.array(column) for name, column in OF_LEADS.items()}

BY_HAND = {
    "leads": 4,
    "shown": 4,
    "approved": 2.0,
    "funded": 1.5,
    "approval_rate": 0.5,  # 2 of 4 shown
    "cost_per_funded": 66.6667,  # 100 for 1.5 loans
    "cost_share_of_yield": 0.2,  # 100 of 500
    "cost_share_of_loans": 0.0333333,  # 100 of 3,000
    "revenue": 80.0,
    "default_rate": 0.1,  # 0.15 of 1.5
    "institution_yield": 0.1,  # 300 on 3,000
    "best_offer_share": 0.5,
    "quota_use": 0.4,  # 4 of 10
    "value_share_of_oracle": 0.75,
    "fee_share_of_yield": 0.16,  # 80 of 500
    "surplus": 40.0,
    "surplus_share_of_oracle": 0.5,  # 45 of 90
    "surplus_share_of_attainable": 0.75,  # 45 of 60
    "first_offer_is_persons_best": 0.666667,  # 2 of 3 matched
    "hopeless_share": 0.333333,
}


def test_figures_equal_a_computation_by_hand():
    found = compute_figures({"banyan": SUMS}, 4, 10)["banyan"]
    assert {name: found[name] for name in BY_HAND} == BY_HAND


def test_every_estimate_lies_in_its_interval():
    many = {name: np.tile(column, 50) for name, column in SUMS.items()}
    found = compute_figures({"banyan": many}, 200, 500)["banyan"]
    estimates = {name.removesuffix("_low") for name in found if name.endswith("_low")}
    assert estimates == BY_HAND.keys() - {"leads", "shown", "quota_use"}
    for name in sorted(estimates):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"], name
    assert found["funded_low"] < found["funded_high"]


def test_the_interval_of_a_mean_agrees_with_theory():
    is_approved = (np.arange(1_000) % 4 == 0).astype(float)  # a quarter of 1,000
    sums = dict.fromkeys(SUMS, is_approved) | {"shown": np.ones(1_000)}
    found = compute_figures({"banyan": sums}, 1_000, 1_000)["banyan"]
    half = 1.96 * np.sqrt(0.25 * 0.75 / 1_000)
    assert found["approval_rate_low"] == pytest.approx(0.25 - half, abs=0.004)
    assert found["approval_rate_high"] == pytest.approx(0.25 + half, abs=0.004)


def test_the_same_leads_give_the_same_intervals():
    assert compute_figures({"banyan": SUMS}, 4, 10) == compute_figures({"banyan": SUMS}, 4, 10)


def test_policies_are_resampled_together():
    found = compute_figures({"banyan": SUMS, "rules": SUMS}, 4, 10)
    assert found["banyan"] == found["rules"]


def test_figures_without_data_are_unknown():
    nothing = {name: np.zeros(3) for name in SUMS if name not in {"value", "oracle_value"}}
    found = compute_figures({"banyan": nothing}, 3, 0)["banyan"]
    unknown = ("cost_per_funded", "default_rate_low", "value_share_of_oracle", "quota_use")
    assert [found[name] for name in unknown] == [None] * 4
    assert found["funded"] == found["funded_high"] == 0
