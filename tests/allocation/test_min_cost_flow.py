"""Min-cost flows and the certificate of their optimality."""

import numpy as np
import pytest

from pipelines.allocation.min_cost_flow import (
    Network,
    compute_residual_distances,
    solve_min_cost_flow,
)
from pipelines.core.errors import IntegrityError


def triangle(*, supply: int = 1) -> Network:
    """Return arcs 0 -> 2 at cost 5 and 0 -> 1 -> 2 at cost 1 + 1, each of capacity 1."""
    return Network(
        tails=np.array([0, 0, 1]),
        heads=np.array([2, 1, 2]),
        capacities=np.array([1, 1, 1]),
        costs=np.array([5, 1, 1]),
        supplies=np.array([supply, 0, -supply]),
    )


def test_flow_takes_the_cheaper_path():
    assert solve_min_cost_flow(triangle()).tolist() == [0, 1, 1]


def test_suboptimal_flow_is_an_error():
    with pytest.raises(IntegrityError, match="cycle of negative cost"):
        compute_residual_distances(triangle(), np.array([1, 0, 0]), start=2)


def test_distances_follow_the_flow_backwards():
    assert compute_residual_distances(triangle(), np.array([0, 1, 1]), start=2).tolist() == [
        -2,
        -1,
        0,
    ]


def test_infeasible_supplies_are_an_error():
    with pytest.raises(IntegrityError, match="INFEASIBLE"):
        solve_min_cost_flow(triangle(supply=3))
