"""Estimate what a policy would have been worth, from the log of another one.

With a pair's reward r, what a model expects of it m, the probability p with which the logged policy
made it a match, and t the share in which the judged policy makes it (1 or 0 for a plan):

    inverse propensity    sum over made pairs of  t r / p            (Horvitz and Thompson 1952)
    self-normalised       sum of t  x  (sum of t r / p) / (sum of t / p), over made pairs
                                                                     (Hájek 1971)
    doubly robust         sum over all pairs of   t k m
                        + sum over made pairs of  t (r - k m) / p    (Dudík, Langford and Li 2011)

where k is what the made pairs brought over what the model expected of them, so that a model that is
too hopeful on the whole doesn't flatter a policy where nothing was tried. A pair whose p is 0 or
tiny has no second term: there the model is all that is known, as in the switch estimator (Wang,
Agarwal and Dudík 2017), and `support` says how much rests on more than that.

The interval follows from the estimate's influence function: how much each made pair moves it, the
wobble of k included, summed by lead, whose pairs stand or fall together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import Z_95

Shares = BoolArray | FloatArray
"""Of each pair: in which share a policy makes it; a plan either does or doesn't."""

LEAST_PROPENSITY = 0.02
"""A pair that was made less often than this tells too little: one outcome would stand for fifty."""


@dataclass(frozen=True)
class Log:
    """Pairs that could have been made, with what became of them: columns of one length."""

    lead: IntArray
    """Code of the pair's lead and day."""
    propensity: FloatArray
    """With which the pair was made a match; 0 where it never could be, 1 where it was planned."""
    is_made: BoolArray
    reward: FloatArray
    """What the match brought, in money; read only where the pair was made."""
    expected: FloatArray
    """What a model expects of the pair, in money."""

    @classmethod
    def together(cls, logs: "Sequence[Log]") -> "Log":
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
    """Worth of a policy on the log's days, in money, with its 95% interval."""

    worth: float
    low: float
    high: float
    support: float
    """Share of the policy's expected worth on pairs that were made often enough to tell of them; of
    a difference, that of the pairs that it makes and the other doesn't."""


def inverse_propensity(log: Log, judged: Shares) -> Estimate:
    """Return the worth of the pairs `judged`, as outcomes alone tell it.

    Unbiased for the part that has support; the rest counts as nothing.
    """
    moves = _weights(log, judged) * _rewards(log)
    return _estimate(log, judged, float(moves.sum()), moves)


def self_normalised(log: Log, judged: Shares) -> Estimate:
    """Return the worth of the pairs `judged`, each worth what those were that outcomes tell of.

    Steadier than `inverse_propensity`, and right where what has no support is like what has.
    """
    weight, pairs = _weights(log, judged), float(np.sum(judged))
    counted = float(weight.sum())
    each = float((weight * _rewards(log)).sum()) / counted if counted > 0 else 0.0
    moves = weight * (_rewards(log) - each) * (pairs / counted if counted > 0 else 0.0)
    return _estimate(log, judged, pairs * each, moves)


def doubly_robust(
    log: Log, judged: Shares, instead_of: Shares | None = None, ratio: float | None = None
) -> Estimate:
    """Return the worth of the pairs `judged`, as the model tells it and outcomes correct it.

    Args:
        log: What was shown, and what came of it.
        judged: The pairs that the policy makes.
        instead_of: The pairs of another policy: then the worth is the difference of both, whose
            interval is narrow where they make the same pairs.
        ratio: What pairs bring over what the model expects, where that is known; else the log
            tells it.
    """
    change = np.asarray(judged, np.float64)
    if instead_of is not None:
        change = change - instead_of
    weight = _weights(log, change)
    hopes = float((log.is_made * log.expected).sum())
    learns = ratio is None and hopes > 0
    if ratio is None:
        ratio = float(_rewards(log).sum() / hopes) if learns else 1.0
    residual = np.where(log.is_made, _rewards(log) - ratio * log.expected, 0.0)
    by_model = float((change * log.expected).sum())
    worth = ratio * by_model + float((weight * residual).sum())
    by_model_alone = by_model - float((weight * log.is_made * log.expected).sum())
    wobble = by_model_alone / hopes if learns else 0.0
    return _estimate(log, change, worth, (weight + wobble) * residual)


def _weights(log: Log, change: Shares) -> FloatArray:
    """Return what each made pair counts for: 1 / propensity where the policy makes it."""
    has_support = log.is_made & (log.propensity >= LEAST_PROPENSITY)
    weight = np.zeros(len(log.lead))
    np.divide(change, log.propensity, out=weight, where=has_support)
    return weight


def _rewards(log: Log) -> FloatArray:
    return np.where(log.is_made, log.reward, 0.0)


def _estimate(log: Log, change: Shares, worth: float, moves: FloatArray) -> Estimate:
    deviation = float(np.sqrt((np.bincount(log.lead, weights=moves) ** 2).sum()))
    weighed = np.maximum(change, 0) * log.expected
    told = weighed[log.propensity >= LEAST_PROPENSITY].sum()
    return Estimate(
        worth=worth,
        low=worth - Z_95 * deviation,
        high=worth + Z_95 * deviation,
        support=float(told / weighed.sum()) if weighed.sum() > 0 else 1.0,
    )
