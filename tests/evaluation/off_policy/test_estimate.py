"""Estimates from a log: right on average, honest intervals, and no credit for what wasn't tried."""

import numpy as np
import pytest

from expectations import policy
from pipelines.evaluation.off_policy.estimate import Log, doubly_robust, inverse_propensity
from pipelines.evaluation.off_policy.promotion_test import judge

PAIRS, LEADS, PRICE = 3_000, 1_000, 100.0


class World:
    """Pairs whose true chances are known: a third planned, a third tried out, a third never."""

    def __init__(self, *, hope: float = 1.0, noise: float = 0.3):
        random = np.random.default_rng(1)
        self.lead = random.integers(0, LEADS, PAIRS)
        self.chance = random.beta(2, 8, PAIRS)
        self.propensity = np.repeat([1.0, 0.1, 0.0], PAIRS // 3)
        wrong = np.exp(noise * random.standard_normal(PAIRS))
        self.expected = hope * PRICE * np.clip(self.chance * wrong, 0, 1)

    def log(self, seed: int) -> Log:
        random = np.random.default_rng(seed)
        is_made = random.random(PAIRS) < self.propensity
        reward = np.where(random.random(PAIRS) < self.chance, PRICE, 0.0)
        reward[~is_made] = np.nan
        return Log(self.lead, self.propensity, is_made, reward, self.expected)

    def worth(self, judged: np.ndarray) -> float:
        return float(PRICE * self.chance[judged].sum())


def shares(planned: float, tried: float, never: float) -> np.ndarray:
    shares = np.repeat([planned, tried, never], PAIRS // 3)
    return np.random.default_rng(2).random(PAIRS) < shares


@pytest.mark.parametrize("hope", [1.0, 1.4])
def test_intervals_cover_the_true_worth_also_where_the_model_hopes_too_much(hope):
    world, judged = World(hope=hope), shares(0.7, 0.3, 0.1)
    estimates = [doubly_robust(world.log(seed), judged) for seed in range(200)]
    covered = [e.low <= world.worth(judged) <= e.high for e in estimates]
    assert sum(covered) >= 180
    assert np.mean([e.worth for e in estimates]) == pytest.approx(world.worth(judged), rel=0.02)


def test_outcomes_alone_are_right_on_average_where_everything_has_support():
    world, judged = World(), shares(0.7, 0.3, 0.0)
    estimates = [inverse_propensity(world.log(seed), judged).worth for seed in range(300)]
    assert np.mean(estimates) == pytest.approx(world.worth(judged), rel=0.02)


def test_the_model_makes_the_interval_narrower_than_outcomes_alone():
    log, judged = World().log(1), shares(0.7, 0.3, 0.0)
    alone, both = inverse_propensity(log, judged), doubly_robust(log, judged)
    assert both.high - both.low < alone.high - alone.low


def test_the_difference_of_policies_that_agree_on_most_is_told_closely():
    log, ours = World().log(1), shares(1.0, 0.0, 0.0)
    theirs = ours.copy()
    theirs[np.flatnonzero(ours)[:50]] = False
    whole, change = doubly_robust(log, theirs), doubly_robust(log, theirs, instead_of=ours)
    assert change.high - change.low < (whole.high - whole.low) / 2


def test_support_is_the_share_of_what_was_made_often_enough_to_tell():
    world = World(noise=0.0)
    log = world.log(1)
    assert doubly_robust(log, shares(0.0, 0.0, 1.0)).support == 0
    assert doubly_robust(log, shares(1.0, 1.0, 0.0)).support == 1
    both = doubly_robust(log, shares(1.0, 1.0, 1.0)).support
    assert both == pytest.approx(1 - log.expected[-1_000:].sum() / log.expected.sum())


def test_a_reward_that_was_never_earned_is_never_read():
    world, judged = World(), shares(0.5, 0.5, 0.5)
    log = world.log(1)
    other = Log(**(vars(log) | {"reward": np.where(log.is_made, log.reward, 1e9)}))
    assert doubly_robust(other, judged) == doubly_robust(log, judged)


def test_a_harmful_policy_is_refused_with_its_loss():
    world, ours = World(), shares(1.0, 0.0, 0.0)
    worst = np.zeros(PAIRS, np.bool_)
    worst[np.argsort(world.chance[:1_000])[:500]] = True
    verdict = judge(world.log(1), worst, ours, policy.exploration())
    assert verdict.decision == "refused"
    assert "would lose" in verdict.reason


def test_a_policy_that_does_only_what_was_never_tried_is_refused_whatever_the_model_hopes():
    world, ours = World(hope=3.0), shares(1.0, 0.0, 0.0)
    verdict = judge(world.log(1), ours | shares(0.0, 0.0, 1.0), ours, policy.exploration())
    assert verdict.decision == "abstained"
    assert "ever tried out" in verdict.reason


def test_of_models_nothing_is_said_where_the_present_ones_are_the_only_witness():
    world, ours = World(), shares(1.0, 0.0, 0.0)
    worst = np.zeros(PAIRS, np.bool_)
    worst[np.argsort(world.chance[2_000:])[:500] + 2_000] = True
    verdicts = [
        judge(world.log(1), worst, ours, policy.exploration(), of_models=of_models)
        for of_models in (False, True)
    ]
    assert [verdict.decision for verdict in verdicts] == ["refused", "abstained"]
    tried = judge(world.log(1), worst & False, ours, policy.exploration(), of_models=True)
    assert tried.decision == "refused"


def test_a_policy_that_gains_where_it_was_tried_is_promoted():
    world, ours = World(), shares(1.0, 0.0, 0.0)
    verdict = judge(world.log(1), ours | shares(0.0, 1.0, 0.0), ours, policy.exploration())
    assert verdict.is_promoted
    assert verdict.gain.low > 0


def test_nothing_logged_tells_nothing_and_breaks_nothing():
    nothing = np.zeros(0)
    empty = Log(nothing.astype(int), nothing, nothing.astype(bool), nothing, nothing)
    assert doubly_robust(empty, nothing.astype(bool)).worth == 0
