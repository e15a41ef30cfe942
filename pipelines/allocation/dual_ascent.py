"""Prices of the constraints: the minimum of the dual function, by projected quasi-Newton steps.

The dual function D (see `leads`) is convex and made of as many facets as there are leads, so with
many leads it is nearly smooth. A limited-memory BFGS approximation of its curvature over the
prices that are free to move (Nocedal and Wright, Numerical Optimization, algorithm 7.4), projected
on the bounds of the prices and with backtracking, comes within some 1e-5 of the minimum after 40
to 60 evaluations. Wherever it stops, D is a true bound.

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
"""Steps that the curvature is learnt from."""
SUFFICIENT = 1e-4
"""Share of the promised decrease that a step must bring (Armijo)."""
SHORTEST = 2.0**-12
"""A step that doesn't go down even when cut to this is given up."""

Dual = Callable[[FloatArray], tuple[float, FloatArray]]
"""Prices -> D and a subgradient of it."""


@dataclass(frozen=True)
class Stop:
    """When to be content."""

    progress: float = 1e-5
    """Go on while D falls by this share of itself ..."""
    evaluations: int = 10
    """... within so many evaluations."""
    most_evaluations: int = 400


@dataclass(frozen=True)
class Lowest:
    """Where the search ended."""

    prices: FloatArray
    bound: float
    evaluations: int


def lowest(
    dual: Dual, start: FloatArray, most: FloatArray, scale: FloatArray, stop: Stop
) -> Lowest:
    """Return the prices in [0, most] at which `dual` is (nearly) lowest.

    Args:
        dual: The function; convex.
        start: Prices to begin with.
        most: Highest price of each constraint; infinite: no bound.
        scale: A typical price of each constraint, above 0: prices are searched in these units.
        stop: When to be content.
    """
    search = _Search(dual, most / scale, scale)
    search.begin(start / scale)
    seen = [search.value]
    while search.evaluations < stop.most_evaluations and search.step():
        seen += [search.value] * (search.evaluations - len(seen))
        before = seen[-1 - min(stop.evaluations, len(seen) - 1)]
        if len(seen) > stop.evaluations and before - search.value < stop.progress * abs(before):
            break
    return Lowest(search.at * scale, search.value, search.evaluations)


class _Search:
    """The state of a search, in units of `scale`."""

    def __init__(self, dual: Dual, most: FloatArray, scale: FloatArray) -> None:
        self._dual, self._most, self._scale = dual, most, scale
        self._steps: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=MEMORY)
        self.evaluations = 0

    def begin(self, at: FloatArray) -> None:
        self.at = np.clip(at, 0, self._most)
        self.value, self._slope = self._evaluate(self.at)

    def step(self) -> bool:
        """Go one step down; return whether there was one."""
        slope = self._slope
        is_free = ~((self.at <= 0) & (slope >= 0) | (self.at >= self._most) & (slope <= 0))
        if not (slope[is_free] != 0).any():
            return False
        direction = _descent(slope * is_free, self._steps, is_free)
        if self._walk(direction):
            return True
        if not self._steps:
            return False
        self._steps.clear()  # what was learnt misleads here: begin anew with the steepest descent
        return self._walk(_descent(slope * is_free, self._steps, is_free))

    def _walk(self, direction: FloatArray) -> bool:
        length = 1.0
        while length >= SHORTEST:
            there = np.clip(self.at + length * direction, 0, self._most)
            step = there - self.at
            promised = _dot(self._slope, step)
            if promised >= 0:
                return False
            value, slope = self._evaluate(there)
            if value <= self.value + SUFFICIENT * promised:
                self._learn(step, slope - self._slope)
                self.at, self.value, self._slope = there, value, slope
                return True
            curvature = value - self.value - promised
            length *= min(0.5, max(0.1, -promised / (2 * curvature)))  # the parabola's lowest
        return False

    def _learn(self, step: FloatArray, change: FloatArray) -> None:
        if _dot(step, change) > 0:
            self._steps.append((step, change))

    def _evaluate(self, at: FloatArray) -> tuple[float, FloatArray]:
        self.evaluations += 1
        value, slope = self._dual(at * self._scale)
        return value, slope * self._scale


def _descent(
    slope: FloatArray, steps: Iterable[tuple[FloatArray, FloatArray]], is_free: BoolArray
) -> FloatArray:
    """Return the quasi-Newton direction over the free prices (the two-loop recursion)."""
    usable = []
    for steps_before, changes in steps:
        step, change = steps_before * is_free, changes * is_free
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
