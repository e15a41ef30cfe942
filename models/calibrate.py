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

from models.features import Numbers

EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1, where the logarithm ends."""

STEPS = 100
SMALL_STEP = 1e-10


@dataclass(frozen=True)
class Calibration:
    """The curve above; the default leaves probabilities as they are."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __call__(self, raw: Numbers) -> Numbers:
        """Return calibrated probabilities of `raw` ones, element by element."""
        low, high = _terms(raw)
        return _sigmoid(self.a * low + self.b * high + self.c)

    def as_dict(self) -> dict[str, float]:
        """Return the curve as plain figures for the registry."""
        return asdict(self)


def fit(raw: Numbers, happened: Numbers) -> Calibration:
    """Return the curve that fits best what `happened` (0 or 1) to probabilities `raw`.

    Where the best fit would turn the order of rows around, the offending slope is left out.
    """
    low, high = _terms(raw)
    a, b, c = _logistic([low, high], happened)
    if a < 0:
        a, (b, c) = 0.0, _logistic([high], happened)
    elif b < 0:
        b, (a, c) = 0.0, _logistic([low], happened)
    return Calibration(max(a, 0.0), max(b, 0.0), c)


def _terms(raw: Numbers) -> tuple[Numbers, Numbers]:
    inside = np.clip(raw, EDGE, 1 - EDGE)
    return np.log(inside), -np.log1p(-inside)


def _sigmoid(logit: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-logit)))


def _logistic(columns: list[Numbers], happened: Numbers) -> list[float]:
    """Return the slopes and, last, the intercept of a logistic regression, by Newton's method.

    Sums are numpy's own and not the linear algebra library's, whose result would depend on the
    number of threads. The ridge of 1e-6 keeps a step defined where a column says nothing.
    """
    design = [*columns, np.ones(len(happened))]
    weights = np.zeros(len(design))
    weights[0] = 1.0
    for _ in range(STEPS):
        logit = sum((w * x for w, x in zip(weights, design, strict=True)), np.zeros(len(happened)))
        fitted = _sigmoid(logit)
        slope, spread = happened - fitted, fitted * (1 - fitted)
        gradient = np.array([np.sum(x * slope) for x in design])
        curvature = np.array([[np.sum(x * z * spread) for z in design] for x in design])
        step = np.linalg.solve(curvature + 1e-6 * np.eye(len(design)), gradient)
        weights = weights + step
        if np.max(np.abs(step)) < SMALL_STEP:
            break
    return [float(f"{weight:.12g}") for weight in weights]
