"""Off-policy estimates: unbiased, with intervals that cover, and no credit without support."""

import numpy as np
import pytest

from expectations import policy
from pipelines.evaluation.off_policy.estimate import PolicyLog, doubly_robust, inverse_propensity
from pipelines.evaluation.off_policy.policy_value import decide_promotion

PAIRS, LEADS, PRICE = 3_000, 1_000, 100.0


class World:
    """Pairs of known probability: a third planned, a third explored, a third never matched."""

    def __init__(self, *, optimism: float = 1.0, noise: float = 0.3):
        random = np.random.default_rng(1)
        self.lead = random.integers(0, LEADS, PAIRS)
        self.probability = random.beta(2, 8, PAIRS)
        self.propensity = np.repeat([1.0, 0.1, 0.0], PAIRS // 3)
        wrong = np.exp(noise * random.standard_normal(PAIRS))
        self.expected = optimism * PRICE * np.clip(self.probability * wrong, 0, 1)

    def log(self, seed: int) -> PolicyLog:
        random = np.random.default_rng(seed)
        is_made = random.random(PAIRS) < self.propensity
        reward = np.where(random.random(PAIRS) < self.probability, PRICE, 0.0)
        reward[~is_made] = np.nan
        return PolicyLog(self.lead, self.propensity, is_made, reward, self.expected)

    def true_value(self, target: np.ndarray) -> float:
        return float(PRICE * self.probability[target].sum())


def draw_plan(planned: float, explored: float, never: float) -> np.ndarray:
    probability = np.repeat([planned, explored, never], PAIRS // 3)
    return np.random.default_rng(2).random(PAIRS) < probability


@pytest.mark.parametrize("optimism", [1.0, 1.4])
def test_intervals_cover_the_true_value_also_with_an_optimistic_model(optimism):
    world, target = World(optimism=optimism), draw_plan(0.7, 0.3, 0.1)
    estimates = [doubly_robust(world.log(seed), target) for seed in range(200)]
    covered = [e.low <= world.true_value(target) <= e.high for e in estimates]
    assert sum(covered) >= 180
    assert np.mean([e.value for e in estimates]) == pytest.approx(
        world.true_value(target), rel=0.02
    )


def test_inverse_propensity_is_unbiased_with_full_support():
    world, target = World(), draw_plan(0.7, 0.3, 0.0)
    estimates = [inverse_propensity(world.log(seed), target).value for seed in range(300)]
    assert np.mean(estimates) == pytest.approx(world.true_value(target), rel=0.02)


def test_doubly_robust_interval_is_narrower_than_that_of_inverse_propensity():
    log, target = World().log(1), draw_plan(0.7, 0.3, 0.0)
    alone, both = inverse_propensity(log, target), doubly_robust(log, target)
    assert both.high - both.low < alone.high - alone.low


def test_difference_of_similar_policies_has_a_narrow_interval():
    log, ours = World().log(1), draw_plan(1.0, 0.0, 0.0)
    theirs = ours.copy()
    theirs[np.flatnonzero(ours)[:50]] = False
    whole, change = doubly_robust(log, theirs), doubly_robust(log, theirs, baseline=ours)
    assert change.high - change.low < (whole.high - whole.low) / 2


def test_support_is_the_share_of_expected_value_with_enough_propensity():
    world = World(noise=0.0)
    log = world.log(1)
    assert doubly_robust(log, draw_plan(0.0, 0.0, 1.0)).support == 0
    assert doubly_robust(log, draw_plan(1.0, 1.0, 0.0)).support == 1
    both = doubly_robust(log, draw_plan(1.0, 1.0, 1.0)).support
    assert both == pytest.approx(1 - log.expected[-1_000:].sum() / log.expected.sum())


def test_reward_of_a_pair_that_was_no_match_is_not_read():
    world, target = World(), draw_plan(0.5, 0.5, 0.5)
    log = world.log(1)
    other = PolicyLog(**(vars(log) | {"reward": np.where(log.is_made, log.reward, 1e9)}))
    assert doubly_robust(other, target) == doubly_robust(log, target)


def test_harmful_policy_is_rejected_with_its_loss():
    world, ours = World(), draw_plan(1.0, 0.0, 0.0)
    worst = np.zeros(PAIRS, np.bool_)
    worst[np.argsort(world.probability[:1_000])[:500]] = True
    decision = decide_promotion(world.log(1), worst, ours, policy.exploration())
    assert decision.decision == "rejected"
    assert "would lose" in decision.reason


def test_policy_without_support_gets_no_decision_despite_an_optimistic_model():
    world, ours = World(optimism=3.0), draw_plan(1.0, 0.0, 0.0)
    decision = decide_promotion(
        world.log(1), ours | draw_plan(0.0, 0.0, 1.0), ours, policy.exploration()
    )
    assert decision.decision == "abstained"
    assert "ever explored" in decision.reason


def test_comparison_of_models_without_support_gets_no_decision():
    world, ours = World(), draw_plan(1.0, 0.0, 0.0)
    worst = np.zeros(PAIRS, np.bool_)
    worst[np.argsort(world.probability[2_000:])[:500] + 2_000] = True
    decisions = [
        decide_promotion(
            world.log(1), worst, ours, policy.exploration(), compares_models=compares_models
        )
        for compares_models in (False, True)
    ]
    assert [each.decision for each in decisions] == ["rejected", "abstained"]
    supported = decide_promotion(
        world.log(1), worst & False, ours, policy.exploration(), compares_models=True
    )
    assert supported.decision == "rejected"


def test_policy_that_gains_with_support_is_promoted():
    world, ours = World(), draw_plan(1.0, 0.0, 0.0)
    decision = decide_promotion(
        world.log(1), ours | draw_plan(0.0, 1.0, 0.0), ours, policy.exploration()
    )
    assert decision.is_promoted
    assert decision.gain.low > 0


def test_empty_log_has_value_zero():
    none = np.zeros(0)
    empty = PolicyLog(none.astype(int), none, none.astype(bool), none, none)
    assert doubly_robust(empty, none.astype(bool)).value == 0
