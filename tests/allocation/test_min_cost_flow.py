"""Flows are cheapest or it is said that they are not."""

import numpy as np
import pytest

from pipelines.allocation.min_cost_flow import Network, cheapest_flow, residual_distances
from pipelines.core.errors import Broken


def triangle(*, supply: int = 1) -> Network:
    """Return 0 -> 2 at cost 5, or by way of 1 at cost 1 + 1; each arc takes one unit."""
    return Network(
        tails=np.array([0, 0, 1]),
        heads=np.array([2, 1, 2]),
        capacities=np.array([1, 1, 1]),
        costs=np.array([5, 1, 1]),
        supplies=np.array([supply, 0, -supply]),
    )


def test_the_cheaper_way_is_taken():
    assert cheapest_flow(triangle()).tolist() == [0, 1, 1]


def test_a_flow_that_is_not_the_cheapest_is_found_out():
    with pytest.raises(Broken, match="cycle of negative cost"):
        residual_distances(triangle(), np.array([1, 0, 0]), start=2)


def test_distances_run_back_along_the_flow():
    assert residual_distances(triangle(), np.array([0, 1, 1]), start=2).tolist() == [-2, -1, 0]


def test_supplies_that_no_arc_can_carry_are_refused():
    with pytest.raises(Broken, match="INFEASIBLE"):
        cheapest_flow(triangle(supply=3))
