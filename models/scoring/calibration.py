"""Beta calibration of a model's probabilities, so that "30%" happens 30 times in 100.

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

MAX_STEPS = 100
MIN_RELATIVE_GAIN = 1e-12
"""Relative decrease of the loss up to which the iteration has converged."""

RIDGE = 1e-6
"""Keeps the Newton step defined if a column is constant."""

DIGITS = 9


@dataclass(frozen=True)
class Calibration:
    """The three coefficients; the default is the identity."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __call__(self, raw: FloatArray) -> FloatArray:
        """Return calibrated probabilities of `raw` ones, element by element."""
        log_p, minus_log_q = _log_terms(raw)
        return sigmoid(self.a * log_p + self.b * minus_log_q + self.c)

    def as_dict(self) -> dict[str, float]:
        """Return the coefficients for the registry."""
        return asdict(self)


def fit_calibration(
    raw: FloatArray, outcomes: FloatArray, weights: FloatArray | None = None
) -> Calibration:
    """Return the calibration of probabilities `raw` with the highest likelihood of `outcomes`.

    A coefficient that would be negative, which reverses the order of rows, is set to 0.
    """
    log_p, minus_log_q = _log_terms(raw)
    weights = np.ones(len(raw)) if weights is None else weights
    a, b, c = _fit_logistic([log_p, minus_log_q], outcomes, weights)
    if a < 0:
        a, (b, c) = 0.0, _fit_logistic([minus_log_q], outcomes, weights)
    elif b < 0:
        b, (a, c) = 0.0, _fit_logistic([log_p], outcomes, weights)
    return Calibration(max(a, 0.0), max(b, 0.0), c)


def _log_terms(raw: FloatArray) -> tuple[FloatArray, FloatArray]:
    clipped = clip_probability(raw)
    return np.log(clipped), -np.log1p(-clipped)


def _fit_logistic(
    columns: list[FloatArray], outcomes: FloatArray, weights: FloatArray
) -> list[float]:
    """Return the slopes and, last, the intercept of a logistic regression.

    Newton's method from slopes of 1; each step is halved until the likelihood rises. Sums are
    numpy's own, because the sums of BLAS depend on its threads.
    """
    design = [*columns, np.ones(len(outcomes))]
    coefficients = np.array([1.0] * len(columns) + [0.0])
    loss = _log_loss(coefficients, design, outcomes, weights)
    for _ in range(MAX_STEPS):
        step = _newton_step(coefficients, design, outcomes, weights)
        while (smaller := _log_loss(coefficients + step, design, outcomes, weights)) > loss:
            step = step / 2
        if loss - smaller <= MIN_RELATIVE_GAIN * loss:
            break
        coefficients, loss = coefficients + step, smaller
    return [round_significant(coefficient, DIGITS) for coefficient in coefficients]


def _linear_predictor(coefficients: FloatArray, design: list[FloatArray]) -> FloatArray:
    return np.asarray(np.sum([b * x for b, x in zip(coefficients, design, strict=True)], axis=0))


def _log_loss(
    coefficients: FloatArray, design: list[FloatArray], outcomes: FloatArray, weights: FloatArray
) -> float:
    log_odds = _linear_predictor(coefficients, design)
    return float(np.sum(weights * (np.logaddexp(0, log_odds) - outcomes * log_odds)))


def _newton_step(
    coefficients: FloatArray, design: list[FloatArray], outcomes: FloatArray, weights: FloatArray
) -> FloatArray:
    fitted = sigmoid(_linear_predictor(coefficients, design))
    residual, variance = weights * (outcomes - fitted), weights * fitted * (1 - fitted)
    gradient = [np.sum(x * residual) for x in design]
    hessian = [[np.sum(x * z * variance) for z in design] for x in design]
    return np.asarray(np.linalg.solve(hessian + RIDGE * np.eye(len(design)), gradient))
