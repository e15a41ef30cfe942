"""Column generation: a bound below that of the linear relaxation, and the plan that it leads to.

Where a product takes a handful of leads, the linear relaxation fills its quota, budget and shares
with parts of leads, and its bound is one or two percent above any plan. Dantzig-Wolfe decomposition
chooses among whole sets of leads (columns) of each product instead:

    maximise    sum over the columns c of  value_c t_c                       0 <= t <= 1
    subject to  sum over the columns of a product of  t_c  <= 1
                sum over the columns of  use_rc t_c        <= upper_r        for each row r

The rows of the second kind couple the products: the offers of a lead, one per institution, floors,
and limits on several products.

At prices y >= 0 of the coupling rows, the pricing problems (`pricing_problem`) give the set of
greatest profit z_j(y) of each product, and

    D(y) = sum of upper_r y_r + sum of z_j(y)   >= any plan

is a bound at any prices (Desaulniers, Desrosiers and Solomon, Column generation, 2005; Savelsbergh,
A branch-and-price algorithm for the generalized assignment problem, Operations Research 45, 1997).

1. Start from the prices and the plan of the Lagrangian relaxation. A lead's offers cost the mean of
   its last surplus chosen and its next, and a second product of one institution what it has more.
2. In rounds, the master program over all columns so far proposes prices within a box around the
   best prices (Marsten, Hogan and Blankenship, The boxstep method, Operations Research 23, 1975);
   if they don't lower D, the box is halved. New columns come from the pricing problems.
3. The columns of smallest reduced cost form an integer program, the restricted master. Its solution
   is a plan.

All limits count operations, never seconds, and pairs are sorted by tie-break key: the result is the
same on each run and in any order of the pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import block_array, coo_array, csr_array, eye_array, vstack

from pipelines.allocation.mip_polish import renumber_by_appearance
from pipelines.allocation.moves import RestrictedProblem
from pipelines.allocation.pricing_problem import (
    Columns,
    PricingProblems,
    find_owners,
    find_scarce_rows,
    join_columns,
)
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

MAX_ROUNDS = 10
PROGRESS = 1e-4
"""Rounds end when the master program expects to lower the bound by less than this share."""
BOX = 0.05
"""Half the width of the first box, as a share of the price, or of a typical value if greater."""
NEW_COLUMNS = 4
"""Most new columns of a product from one pass of its pricing problem."""
MASTER_COLUMNS = 10
"""Columns of a product in the master programs, besides the ones of the last solution."""
PRICING_TOLERANCE = 1e-5
"""Share of the bound that pricing problems may leave open in total."""
NODES = 10
"""Nodes of the search tree of the restricted master."""
CHOSEN = 0.5
"""A column whose share is above this is chosen; shares of an integer solution are 0 or 1."""
MASTER_GAP = 5e-4
"""The restricted master is solved when its plan is within this share of its best columns."""


@dataclass(frozen=True)
class Improvement:
    """The result of column generation."""

    chosen: BoolArray
    """The plan; the one given if none better was found."""
    bound: float
    """No plan within the limits, floors included, has a greater value."""


def generate_columns(
    problem: RestrictedProblem, plan: BoolArray, row_prices: Sequence[FloatArray]
) -> Improvement:
    """Return a bound, and a plan of at least the value of `plan`.

    Args:
        problem: All pairs that a plan may have, with surplus and reduced costs at good prices.
        plan: A plan that keeps all limits, floors included.
        row_prices: The good prices, one array by limit.
    """
    order = np.argsort(problem.tie_break_key, kind="stable")
    search = _Master(problem.take(order), plan[order], row_prices)
    search.lower_bound()
    chosen = plan.copy()
    chosen[order] = search.solve_integers()
    rows = np.flatnonzero(chosen)
    is_better = problem.value[rows].sum() > problem.value[plan].sum()
    is_feasible = all(limit.is_satisfied(rows) for limit in problem.limits)
    return Improvement(chosen if is_better and is_feasible else plan, search.bound)


@dataclass(frozen=True)
class _CouplingRows:
    """The rows that couple products: use (rows, pairs), upper limits and start prices."""

    use: csr_array
    upper: FloatArray
    prices: FloatArray


class _Master:
    """The columns so far, and the best prices of the coupling rows.

    Args:
        problem: The pairs, by tie-break key.
        plan: A plan that keeps all limits.
        row_prices: Prices of the rows, by limit.
    """

    def __init__(
        self, problem: RestrictedProblem, plan: BoolArray, row_prices: Sequence[FloatArray]
    ) -> None:
        self._problem, self._plan = problem, plan
        self._pricing = PricingProblems(problem)
        self._rows = _build_coupling_rows(problem, row_prices)
        self._unit = float(np.median(problem.value[plan]))
        self._columns = _split_plan(problem, plan)
        self._basis = self._columns
        self.bound = np.inf

    def lower_bound(self) -> None:
        """Search the prices of the lowest bound; this fills the columns."""
        prices, width = self._rows.prices, BOX
        for _ in range(MAX_ROUNDS):
            bound = self._price(prices)
            if bound < self.bound:
                self.bound, self._prices = bound, prices
            else:
                width /= 2
            expected, prices = self._solve_master(width)
            if self.bound - expected <= PROGRESS * self.bound:
                break

    def _price(self, prices: FloatArray) -> float:
        """Return D at `prices`, and add the columns found."""
        profit = self._problem.value - self._rows.use.T @ prices
        tolerance = PRICING_TOLERANCE * float(self._problem.value[self._plan].sum())
        result = self._pricing.solve(profit, self._columns, most=NEW_COLUMNS, tolerance=tolerance)
        self._columns = join_columns([self._columns, result.columns])
        priced = prices > 0
        capacity = math.fsum((self._rows.upper[priced] * prices[priced]).tolist())
        return capacity + float(np.ceil(result.bound).sum())

    def _solve_master(self, width: float) -> tuple[float, FloatArray]:
        """Return the lowest bound that the columns allow within the box, and its prices.

        Capacity may be bought at the highest price of the box, and sold at the lowest.
        """
        columns = self._select_columns()
        rows, use = self._restrict_rows(columns)
        centre = self._prices[rows]
        reach = width * np.maximum(centre, self._unit)
        sold = np.flatnonzero(centre > reach)
        trade = eye_array(len(rows), format="csr")
        cost = [-columns.total(self._problem.value), centre + reach, (reach - centre)[sold]]
        result = linprog(
            np.concatenate(cost) / self._unit,
            A_ub=block_array(
                [[use, -trade, trade[:, sold]], [self._build_choice(columns), None, None]]
            ).tocsr(),
            b_ub=np.concatenate([self._rows.upper[rows], np.ones(self._pricing.products)]),
            method="highs-ds",
        )
        if result.status != 0:
            return self.bound, self._prices
        prices = np.zeros(len(self._prices))
        prices[rows] = np.maximum(-result.ineqlin.marginals[: len(rows)], 0) * self._unit
        self._basis = columns.take(np.flatnonzero(result.x[: len(columns.product)] > 0))
        return float(-result.fun) * self._unit, prices

    def solve_integers(self) -> BoolArray:
        """Return the plan of the best columns, one of each product at most."""
        columns = self._select_columns()
        rows, use = self._restrict_rows(columns)
        count = len(columns.product)
        result = milp(
            -columns.total(self._problem.value) / self._unit,
            constraints=[
                LinearConstraint(use, ub=self._rows.upper[rows]),
                LinearConstraint(self._build_choice(columns), ub=1),
            ],
            integrality=np.ones(count),
            bounds=Bounds(0, 1),
            options={"node_limit": NODES, "mip_rel_gap": MASTER_GAP},
        )
        if result.x is None:
            return self._plan
        chosen = np.zeros(len(self._plan), np.bool_)
        chosen[columns.take(np.flatnonzero(result.x > CHOSEN)).pairs] = True
        return chosen

    def _select_columns(self) -> Columns:
        """Return each product's columns of greatest profit at the best prices, and the basis."""
        profit = self._columns.total(self._problem.value - self._rows.use.T @ self._prices)
        order = np.lexsort((-profit, self._columns.product))
        product = self._columns.product[order]
        rank = np.arange(len(order)) - np.searchsorted(product, product)
        best = self._columns.take(order[rank < MASTER_COLUMNS])
        return join_columns([best, self._basis, _split_plan(self._problem, self._plan)])

    def _restrict_rows(self, columns: Columns) -> tuple[IntArray, csr_array]:
        """Return the coupling rows that the columns may exceed or that have a price, and their use
        by the columns."""
        pairs = np.unique(columns.pairs)
        most = self._rows.use[:, pairs].maximum(0).sum(axis=1)
        rows = np.flatnonzero((most > self._rows.upper) | (self._prices > 0))
        shape = len(self._plan), len(columns.product)
        inside = coo_array((np.ones(len(columns.pairs)), (columns.pairs, columns.number)), shape)
        return rows, (self._rows.use[rows] @ inside.tocsr()).tocsr()

    def _build_choice(self, columns: Columns) -> csr_array:
        """Return the rows that allow one column of each product."""
        count = len(columns.product)
        shape = self._pricing.products, count
        return coo_array((np.ones(count), (columns.product, np.arange(count))), shape).tocsr()


def _split_plan(problem: RestrictedProblem, plan: BoolArray) -> Columns:
    """Return each product's pairs of the plan."""
    pairs = np.flatnonzero(plan)
    pairs = pairs[np.argsort(problem.limits[0].row[pairs], kind="stable")]
    product, start = np.unique(problem.limits[0].row[pairs], return_index=True)
    return Columns(product, pairs, np.append(start, len(pairs)))


def _build_coupling_rows(
    problem: RestrictedProblem, row_prices: Sequence[FloatArray]
) -> _CouplingRows:
    """Return the rows that several products share, with prices near their best.

    Rows of limits are divided by the greatest use of a pair.
    """
    lead, _ = renumber_by_appearance(problem.lead)
    group, _ = renumber_by_appearance(problem.group)
    lead_price, group_price = _price_offers(lead, group, problem.surplus, problem.max_offers)
    pairs = np.arange(len(lead))
    blocks, uppers, prices = [], [], [lead_price, group_price]
    for code, count, upper in (
        (lead, len(lead_price), problem.max_offers),
        (group, len(group_price), 1),
    ):
        blocks.append(coo_array((np.ones(len(code)), (code, pairs)), (count, len(code))))
        uppers.append(np.full(count, float(upper)))
    for limit, price in zip(problem.limits, row_prices, strict=True):
        is_shared = (find_owners(limit, problem.limits[0].row) < 0) & find_scarce_rows(limit)
        inside = np.flatnonzero(np.append(is_shared, False)[limit.row])
        row, use = limit.row[inside], limit.pair_use(inside)
        scale = np.ones(len(limit.upper))
        np.maximum.at(scale, row, np.abs(use))
        use_of_row = coo_array((use / scale[row], (row, inside)), (len(scale), len(lead)))
        blocks.append(use_of_row.tocsr()[is_shared])
        uppers.append((limit.upper / scale)[is_shared])
        prices.append((price * scale)[is_shared])
    return _CouplingRows(vstack(blocks).tocsr(), np.concatenate(uppers), np.concatenate(prices))


def _price_offers(
    lead: IntArray, group: IntArray, surplus: FloatArray, max_offers: int
) -> tuple[FloatArray, FloatArray]:
    """Return prices of an offer of each lead, and of a (lead, institution).

    The lead's is the mean of the last surplus that its choice takes and the next one, the
    institution's what its second pair exceeds that by.
    """
    order = np.lexsort((-surplus, group))
    is_best = np.diff(group[order], prepend=-1) != 0
    best = order[is_best]
    second = np.zeros(len(best))
    is_second = np.flatnonzero(~is_best[1:] & is_best[:-1]) + 1
    second[group[order[is_second]]] = surplus[order[is_second]]
    ranked = best[np.lexsort((-surplus[best], lead[best]))]
    rank = np.arange(len(ranked)) - np.searchsorted(lead[ranked], lead[ranked])
    lead_price = np.zeros(int(lead.max(initial=-1)) + 1)
    for each in (max_offers - 1, max_offers):
        at = ranked[rank == each]
        lead_price[lead[at]] += np.maximum(surplus[at], 0) / 2
    return lead_price, np.maximum(second - lead_price[lead[best]], 0)
