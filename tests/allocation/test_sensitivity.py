"""Prices of limits against solving the linear relaxation again by HiGHS, with the limit changed."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array

from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.problem import Limit, build_quota_limit
from pipelines.allocation.random_instance import (
    RandomInstance,
    add_guarantees,
    generate_instance,
)
from pipelines.allocation.sensitivity import prepare_measurement
from pipelines.bench.benchmarks.allocate import _constraint_matrix

LIMITS = 50


class LinearProgram:
    """The whole instance as a linear program; nothing of it is the solver's."""

    def __init__(self, market: RandomInstance, limits: tuple[Limit, ...]) -> None:
        use, upper = _constraint_matrix(market, limits)
        self._is_limited = np.isfinite(upper)
        self._use = csr_array(use)[np.flatnonzero(self._is_limited)]
        self._upper, self._value = upper, market.candidates.value
        families = (build_quota_limit(market.candidates.product, market.quota), *limits)
        sizes = [len(limit.upper) for limit in families]
        starts = len(upper) - sum(sizes) + np.cumsum([0, *sizes[:-1]])
        self._start = dict(zip([limit.name for limit in families], starts, strict=True))

    def solve(self, name: str, row: int, change: float) -> float:
        upper = self._upper.copy()
        upper[self._start[name] + row] += change
        result = linprog(-self._value, A_ub=self._use, b_ub=upper[self._is_limited], bounds=(0, 1))
        assert result.status == 0, result.message
        return -result.fun


def choose_change(limit: Limit, row: int, plan: Plan) -> float:
    """Return a lead, or a few per cent of money, or of the uses of a ratio row."""
    units = np.broadcast_to(limit.units, len(limit.upper))[row]
    if limit.use is None:
        return 1.0
    if np.ndim(limit.units):
        inside = plan.rows[limit.row[plan.rows] == row]
        return 0.01 * float(np.abs(limit.pair_use(inside)).sum() / units)
    return 0.02 * float(abs(limit.upper[row]) / units)


def test_measured_prices_equal_the_change_of_value():
    market = add_guarantees(generate_instance(300, 20, 10, seed=1, max_offers=3), seed=1)
    limits = market.limits()
    plan = allocate(market.candidates, market.quota, max_offers=3, limits=limits)
    program = LinearProgram(market, limits)
    measurement = prepare_measurement(
        market.candidates, market.quota, max_offers=3, limits=limits, plan=plan
    )
    families = (build_quota_limit(market.candidates.product, market.quota), *limits)
    priced = [
        (limit, int(row))
        for limit in families
        for row in np.flatnonzero(np.isfinite(limit.upper) & (plan.limit_prices(limit) > 0))
    ]
    order = np.random.default_rng(3).permutation(len(priced) - 1)[: LIMITS - 1]
    chosen = [priced[index] for index in order] + [priced[-1]]
    assert {limit.name for limit, _ in chosen} == {limit.name for limit in families}
    near = 0
    for limit, row in chosen:
        change = choose_change(limit, row, plan)
        more, less = (program.solve(limit.name, row, sign * change) for sign in (1, -1))
        price = (more - less) / (2 * change)
        measured = measurement.measure_price(limit.name, row, change)
        assert measured == pytest.approx(price, rel=0.1, abs=1e-6), (limit.name, row)
        near += plan.limit_prices(limit)[row] == pytest.approx(price, rel=0.1, abs=1e-6)
    assert len(chosen) == LIMITS
    assert near >= 0.75 * LIMITS  # the others are scarce: their price differs by unit
