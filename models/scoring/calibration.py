"""Beta calibration: bend a model's probabilities so that "30%" happens 30 times in 100.

Kull, Silva Filho and Flach (2017), "Beta calibration: a well-founded and easily implemented
improvement on logistic calibration for binary classifiers", AISTATS:

    logit q = a ln p - b ln (1 - p) + c,   with a, b >= 0, so that the order of rows stays

Chosen by measurement on HMDA approvals of 2024 (expected calibration error, in brackets with
other cuts): none 0.0159; isotonic 0.0096 (0.0095, 0.0086); Platt 0.0090 (0.0081, 0.0088);
beta 0.0078 (0.0065, 0.0070).
"""

from dataclasses import asdict, dataclass

import numpy as np

from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import clip_probability, round_significant, sigmoid

MOST_STEPS = 100
SMALL_GAIN = 1e-12
"""A step that lowers the loss by no more than this share is the last."""

RIDGE = 1e-6
"""Keeps a step defined where a column says nothing."""


@dataclass(frozen=True)
class Calibration:
    """The curve above; the default leaves probabilities as they are."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __call__(self, raw: FloatArray) -> FloatArray:
        """Return calibrated probabilities of `raw` ones, element by element."""
        low, high = _terms(raw)
        return sigmoid(self.a * low + self.b * high + self.c)

    def as_dict(self) -> dict[str, float]:
        """Return the curve as plain figures for the registry."""
        return asdict(self)


def fit(raw: FloatArray, happened: FloatArray, counts: FloatArray | None = None) -> Calibration:
    """Return the curve that fits best what `happened` (0 or 1) to probabilities `raw`.

    A row is as many as `counts` says; without it one.

    Where the best fit would turn the order of rows around, the offending slope is left out.
    """
    low, high = _terms(raw)
    counts = np.ones(len(raw)) if counts is None else counts
    a, b, c = _logistic([low, high], happened, counts)
    if a < 0:
        a, (b, c) = 0.0, _logistic([high], happened, counts)
    elif b < 0:
        b, (a, c) = 0.0, _logistic([low], happened, counts)
    return Calibration(max(a, 0.0), max(b, 0.0), c)


def _terms(raw: FloatArray) -> tuple[FloatArray, FloatArray]:
    inside = clip_probability(raw)
    return np.log(inside), -np.log1p(-inside)


def _logistic(columns: list[FloatArray], happened: FloatArray, counts: FloatArray) -> list[float]:
    """Return the slopes and, last, the intercept of a logistic regression.

    Newton's method from slopes of 1, each step halved until the likelihood gains. Sums are
    numpy's own, not the linear algebra library's, whose result depends on its threads.
    """
    design = [*columns, np.ones(len(happened))]
    weights = np.array([1.0] * len(columns) + [0.0])
    loss = _loss(weights, design, happened, counts)
    for _ in range(MOST_STEPS):
        step = _newton_step(weights, design, happened, counts)
        while (smaller := _loss(weights + step, design, happened, counts)) > loss:
            step = step / 2
        if loss - smaller <= SMALL_GAIN * loss:
            break
        weights, loss = weights + step, smaller
    return [round_significant(weight, 9) for weight in weights]


def _logits(weights: FloatArray, design: list[FloatArray]) -> FloatArray:
    return np.asarray(np.sum([w * x for w, x in zip(weights, design, strict=True)], axis=0))


def _loss(
    weights: FloatArray, design: list[FloatArray], happened: FloatArray, counts: FloatArray
) -> float:
    """Return minus the log-likelihood."""
    logit = _logits(weights, design)
    return float(np.sum(counts * (np.logaddexp(0, logit) - happened * logit)))


def _newton_step(
    weights: FloatArray, design: list[FloatArray], happened: FloatArray, counts: FloatArray
) -> FloatArray:
    fitted = sigmoid(_logits(weights, design))
    slope, spread = counts * (happened - fitted), counts * fitted * (1 - fitted)
    gradient = [np.sum(x * slope) for x in design]
    curvature = [[np.sum(x * z * spread) for z in design] for x in design]
    return np.asarray(np.linalg.solve(curvature + RIDGE * np.eye(len(design)), gradient))
