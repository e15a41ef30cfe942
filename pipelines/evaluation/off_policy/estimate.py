"""Estimate the value of a target policy from the log of another policy.

With a pair's reward r, the model's expectation m of it, the propensity p with which the logged
policy made it a match, and the probability t with which the target policy makes it one (1 or 0 for
a plan):

    inverse propensity    sum over matches of  t r / p               (Horvitz and Thompson 1952)
    self-normalised       sum of t  x  (sum of t r / p) / (sum of t / p), over matches
                                                                     (Hájek 1971)
    doubly robust         sum over all pairs of   t k m
                        + sum over matches of     t (r - k m) / p    (Dudík, Langford and Li 2011)

where k is the total reward of the matches over the model's expectation of it, so that a model that
is too optimistic on the whole doesn't favour a policy where nothing was explored. A pair whose p
is 0 or tiny has no second term: there the model is the only evidence, as in the switch estimator
(Wang, Agarwal and Dudík 2017), and `support` is the share that has more evidence.

The interval follows from the influence function of the estimate: the effect of each match on it,
with the uncertainty of k, summed by lead, since the pairs of a lead are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import Z_95

Probabilities = BoolArray | FloatArray
"""Probability of each pair to be a match under a policy; a plan has flags."""

MIN_PROPENSITY = 0.02
"""A pair with a smaller propensity has no support: one outcome would count for fifty."""


@dataclass(frozen=True)
class PolicyLog:
    """Pairs that could have been matches, with their outcomes: columns of equal length."""

    lead: IntArray
    """Code of the pair's lead and day."""
    propensity: FloatArray
    """Probability with which the pair was made a match; 1: planned and not displaceable."""
    is_made: BoolArray
    reward: FloatArray
    """Realised value of the match, in money; read only where the pair was a match."""
    expected: FloatArray
    """Expected value of the pair under a model, in money."""

    @classmethod
    def concatenate(cls, logs: "Sequence[PolicyLog]") -> "PolicyLog":
        """Return the logs of several days as one; a lead of another day is another lead."""
        ends = np.cumsum([0, *(int(log.lead.max(initial=-1)) + 1 for log in logs)])
        columns = {
            field.name: np.concatenate([getattr(log, field.name) for log in logs])
            for field in fields(cls)
        }
        columns["lead"] += np.repeat(ends[:-1], [len(log.lead) for log in logs])
        return cls(**columns)


@dataclass(frozen=True)
class Estimate:
    """Value of a policy on the days of the log, in money, with its 95% interval."""

    value: float
    low: float
    high: float
    support: float
    """Share of the policy's expected value on pairs with enough propensity; of a difference, on the
    pairs that the target makes and the other policy doesn't."""


def inverse_propensity(log: PolicyLog, target: Probabilities) -> Estimate:
    """Return the value of the target policy by outcomes alone.

    Unbiased for the part with support; the rest counts as 0.
    """
    effects = _compute_weights(log, target) * _compute_rewards(log)
    return _build_estimate(log, target, float(effects.sum()), effects)


def self_normalised(log: PolicyLog, target: Probabilities) -> Estimate:
    """Return the number of target pairs times the weighted mean reward.

    Of lower variance than `inverse_propensity`, and unbiased if pairs without support are like
    pairs with support.
    """
    weight, pairs = _compute_weights(log, target), float(np.sum(target))
    total_weight = float(weight.sum())
    has_weight = total_weight > 0
    mean = float((weight * _compute_rewards(log)).sum()) / total_weight if has_weight else 0.0
    effects = (
        weight * (_compute_rewards(log) - mean) * (pairs / total_weight if has_weight else 0.0)
    )
    return _build_estimate(log, target, pairs * mean, effects)


def doubly_robust(
    log: PolicyLog,
    target: Probabilities,
    baseline: Probabilities | None = None,
    ratio: float | None = None,
) -> Estimate:
    """Return the value of the target policy by the model, corrected by outcomes.

    Args:
        log: The logged pairs and their outcomes.
        target: Probabilities of the target policy.
        baseline: Probabilities of another policy: then the value is the difference of both, with a
            narrow interval where they make the same pairs.
        ratio: Reward over the model's expectation (k), if it is known; else it is estimated.
    """
    change = np.asarray(target, np.float64)
    if baseline is not None:
        change = change - baseline
    weight = _compute_weights(log, change)
    expected_total = float((log.is_made * log.expected).sum())
    is_estimated = ratio is None and expected_total > 0
    if ratio is None:
        ratio = float(_compute_rewards(log).sum() / expected_total) if is_estimated else 1.0
    residual = np.where(log.is_made, _compute_rewards(log) - ratio * log.expected, 0.0)
    model_value = float((change * log.expected).sum())
    value = ratio * model_value + float((weight * residual).sum())
    without_support = model_value - float((weight * log.is_made * log.expected).sum())
    ratio_effect = without_support / expected_total if is_estimated else 0.0
    return _build_estimate(log, change, value, (weight + ratio_effect) * residual)


def _compute_weights(log: PolicyLog, change: Probabilities) -> FloatArray:
    """Return the weight of each match: its probability under the target over its propensity."""
    has_support = log.is_made & (log.propensity >= MIN_PROPENSITY)
    weight = np.zeros(len(log.lead))
    np.divide(change, log.propensity, out=weight, where=has_support)
    return weight


def _compute_rewards(log: PolicyLog) -> FloatArray:
    return np.where(log.is_made, log.reward, 0.0)


def _build_estimate(
    log: PolicyLog, change: Probabilities, value: float, effects: FloatArray
) -> Estimate:
    deviation = float(np.sqrt((np.bincount(log.lead, weights=effects) ** 2).sum()))
    expected = np.maximum(change, 0) * log.expected
    supported = expected[log.propensity >= MIN_PROPENSITY].sum()
    return Estimate(
        value=value,
        low=value - Z_95 * deviation,
        high=value + Z_95 * deviation,
        support=float(supported / expected.sum()) if expected.sum() > 0 else 1.0,
    )
