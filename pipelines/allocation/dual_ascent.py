"""Minimise the dual function over the prices by projected quasi-Newton steps.

    minimise  D(p)   subject to  0 <= p <= upper

D (see `lead_subproblem`) is convex and piecewise linear with at least one facet per lead, so with
many leads it is nearly smooth. The method is limited-memory BFGS over the prices that are not fixed
at a bound (Nocedal and Wright, Numerical Optimization, algorithm 7.4), projected on the bounds,
with backtracking line search. It comes within some 1e-5 of the minimum after 40 to 60 evaluations.
D is a valid bound wherever the search stops.

Sums over prices are rounded once (`math.fsum`), so neither threads nor the kind of processor
change a digit.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray

MEMORY = 20
"""Steps that the curvature is estimated from."""
SUFFICIENT_DECREASE = 1e-4
"""Share of the predicted decrease that a step must bring (Armijo)."""
SHORTEST_STEP = 2.0**-12
"""The line search ends without a step at this length."""

DualFunction = Callable[[FloatArray], tuple[float, FloatArray]]
"""Prices -> D and a subgradient of D."""


@dataclass(frozen=True)
class StoppingRule:
    """When the search ends."""

    progress: float = 1e-5
    """Continue while D decreases by this share of itself ..."""
    window: int = 10
    """... within this number of evaluations."""
    max_evaluations: int = 400


@dataclass(frozen=True)
class DualSolution:
    """Prices at the end of the search."""

    prices: FloatArray
    bound: float
    evaluations: int


def minimise_dual(
    dual: DualFunction,
    start: FloatArray,
    upper: FloatArray,
    scale: FloatArray,
    rule: StoppingRule,
) -> DualSolution:
    """Return prices in [0, upper] at which `dual` is (nearly) lowest.

    Args:
        dual: The function; convex.
        start: Start prices.
        upper: Highest price of each row; infinite: unbounded.
        scale: A typical price of each row, above 0: the search works in these units.
        rule: When the search ends.
    """
    search = _QuasiNewton(dual, upper / scale, scale)
    search.evaluate_start(start / scale)
    values = [search.value]
    while search.evaluations < rule.max_evaluations and search.step():
        values += [search.value] * (search.evaluations - len(values))
        before = values[-1 - min(rule.window, len(values) - 1)]
        if len(values) > rule.window and before - search.value < rule.progress * abs(before):
            break
    return DualSolution(search.at * scale, search.value, search.evaluations)


class _QuasiNewton:
    """The state of a search, in units of `scale`."""

    def __init__(self, dual: DualFunction, upper: FloatArray, scale: FloatArray) -> None:
        self._dual, self._upper, self._scale = dual, upper, scale
        self._steps: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=MEMORY)
        self.evaluations = 0

    def evaluate_start(self, at: FloatArray) -> None:
        self.at = np.clip(at, 0, self._upper)
        self.value, self._slope = self._evaluate(self.at)

    def step(self) -> bool:
        """Take one descent step; return whether one was found."""
        slope = self._slope
        is_free = ~((self.at <= 0) & (slope >= 0) | (self.at >= self._upper) & (slope <= 0))
        if not (slope[is_free] != 0).any():
            return False
        if self._search_line(_compute_direction(slope * is_free, self._steps, is_free)):
            return True
        if not self._steps:
            return False
        self._steps.clear()  # the estimated curvature misleads here: restart by steepest descent
        return self._search_line(_compute_direction(slope * is_free, self._steps, is_free))

    def _search_line(self, direction: FloatArray) -> bool:
        length = 1.0
        while length >= SHORTEST_STEP:
            candidate = np.clip(self.at + length * direction, 0, self._upper)
            step = candidate - self.at
            predicted = _dot(self._slope, step)
            if predicted >= 0:
                return False
            value, slope = self._evaluate(candidate)
            if value <= self.value + SUFFICIENT_DECREASE * predicted:
                self._remember(step, slope - self._slope)
                self.at, self.value, self._slope = candidate, value, slope
                return True
            curvature = value - self.value - predicted
            length *= min(0.5, max(0.1, -predicted / (2 * curvature)))  # minimum of the parabola
        return False

    def _remember(self, step: FloatArray, change: FloatArray) -> None:
        if _dot(step, change) > 0:
            self._steps.append((step, change))

    def _evaluate(self, at: FloatArray) -> tuple[float, FloatArray]:
        self.evaluations += 1
        value, slope = self._dual(at * self._scale)
        return value, slope * self._scale


def _compute_direction(
    slope: FloatArray, steps: Iterable[tuple[FloatArray, FloatArray]], is_free: BoolArray
) -> FloatArray:
    """Return the quasi-Newton direction over the free prices (two-loop recursion)."""
    usable = []
    for full_step, full_change in steps:
        step, change = full_step * is_free, full_change * is_free
        curvature = _dot(step, change)
        if curvature > 1e-12 * _dot(change, change):
            usable.append((step, change, curvature))
    direction, shares = slope.copy(), []
    for step, change, curvature in reversed(usable):
        shares.append(_dot(step, direction) / curvature)
        direction -= shares[-1] * change
    if usable:
        _, change, curvature = usable[-1]
        direction *= curvature / _dot(change, change)
    else:
        direction *= 0.1 / max(math.sqrt(_dot(slope, slope) / len(slope)), 1e-300)
    for (step, change, curvature), share in zip(usable, reversed(shares), strict=True):
        direction += (share - _dot(change, direction) / curvature) * step
    return -direction


def _dot(left: FloatArray, right: FloatArray) -> float:
    return math.fsum((left * right).tolist())
