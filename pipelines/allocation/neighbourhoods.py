"""Large neighbourhood search: decide parts of a plan again by the integer solver, part by part.

Where a product takes a handful of leads, its limits allow few combinations of them, and a plan that
no exchange of two leads improves may still lose one or two percent. Two kinds of parts find what
exchanges miss:

1. the pairs on which the plan and the optimum of the linear relaxation differ, with the pairs of
   smallest reduced cost (Danna, Rothberg and Le Pape, Exploring relaxation induced neighborhoods to
   improve MIP solutions, Mathematical Programming 102, 2005);
2. all pairs near the choice of a few products at a time (Shaw, Using constraint programming and
   local search methods to solve vehicle routing problems, CP 1998).
"""

import numpy as np

from pipelines.allocation.mip_polish import polish, solve_linear_relaxation
from pipelines.allocation.moves import RestrictedProblem
from pipelines.core.arrays import BoolArray, IntArray

MAX_DIFFERING = 2_000
"""Most pairs of the first part."""
FIRST_EFFORT = 4.0
"""Deterministic time of the integer solver for the first part, some ten seconds."""
PRODUCTS = 25
"""Products that are decided again together."""
EFFORT = 0.4
"""Deterministic time for each of these parts."""
ROUNDING = 1e-6


def search_neighbourhoods(problem: RestrictedProblem, plan: BoolArray) -> BoolArray:
    """Return a plan of at least the same value; the same one in any order of the pairs."""
    relaxed = solve_linear_relaxation(problem)
    if relaxed is None:
        return plan
    distance = np.abs(problem.reduced_cost)
    differs = np.abs(relaxed.share - plan) > ROUNDING
    order = np.lexsort((problem.tie_break_key, distance, ~differs))
    plan = polish(problem, plan, order[:MAX_DIFFERING], effort=FIRST_EFFORT)
    for products in _group_products(problem, plan | (relaxed.share > ROUNDING)):
        is_near = np.isfinite(distance) | plan
        part = np.flatnonzero(np.isin(problem.limits[0].row, products) & is_near)
        plan = polish(problem, plan, part, effort=EFFORT)
    return plan


def _group_products(problem: RestrictedProblem, active: BoolArray) -> list[IntArray]:
    """Return the products of the `active` pairs in groups, in an order that nothing decides."""
    product = problem.limits[0].row[active]
    order = np.argsort(problem.tie_break_key[active], kind="stable")
    products, first = np.unique(product[order], return_index=True)
    drawn = products[np.argsort(first)]
    return [drawn[begin : begin + PRODUCTS] for begin in range(0, len(drawn), PRODUCTS)]
