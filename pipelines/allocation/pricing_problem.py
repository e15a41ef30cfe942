"""The pricing problems of column generation: each product's best set of leads at given prices.

    maximise    sum over the product's pairs of profit x                         x in {0, 1}
    subject to  the rows that lie within the product: quota, budget, shares, ratios

They are solved exactly, all products at once. With a price for each row (the optimum of the linear
relaxation), the product's best fractional set U and the reduced cost c of each pair are known, and
a set of leads is below U by its loss:

    loss = sum of |c| over the pairs with c > 0 left out and the pairs with c < 0 taken
         + sum over the rows of price x capacity left

With a set known that is below U by T, a pair with |c| >= T is fixed (Savelsbergh, Preprocessing and
probing techniques for mixed integer programming problems, ORSA Journal on Computing 6, 1994). The
others are decided one after the other, by falling |c| and breadth first: of each product the
partial sets of least loss are kept, `width` of them. What a product loses by this is known too,
so its bound is always valid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from pipelines.allocation.moves import RestrictedProblem
from pipelines.allocation.problem import Limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

WIDTHS = (4, 32, 256, 2048)
"""Partial sets that are kept of a product; the next only where the one before doesn't suffice."""
PARTIAL_SETS = 1 << 18
"""Partial sets that are held together: bounds the memory, never changes the result."""
MAX_PARTIAL_SETS = 10_000_000
"""A pass that may build more is left out: some ten seconds."""
LP_PROGRESS = 1e-5
"""The linear relaxation is solved when the pairs left out of it add less than this share."""
LP_ROUNDS = 10
LP_REACH = 0.4
"""Pairs enter the linear relaxation when they lose less than this share of a typical value."""
ROUNDING = 1e-10


@dataclass(frozen=True)
class Columns:
    """Sets of leads, each of one product."""

    product: IntArray
    """Product of each column."""
    pairs: IntArray
    """The pairs of all columns, column by column, in rising order."""
    start: IntArray
    """Where each column begins in `pairs`, and the end of the last one."""

    @property
    def number(self) -> IntArray:
        """Return the number of the column that each of `pairs` belongs to."""
        return np.repeat(np.arange(len(self.product)), np.diff(self.start))

    def total(self, amount: FloatArray) -> FloatArray:
        """Return the sum of `amount`, by pair, over each column."""
        total = np.bincount(self.number, amount[self.pairs], len(self.product))
        return np.asarray(total, np.float64)

    def take(self, columns: IntArray) -> "Columns":
        """Return the given columns, in that order."""
        size = np.diff(self.start)[columns]
        start = np.concatenate([[0], np.cumsum(size)])
        within = np.arange(start[-1]) - np.repeat(start[:-1], size)
        pairs = self.pairs[np.repeat(self.start[columns], size) + within]
        return Columns(self.product[columns], pairs, start)


def join_columns(columns: Sequence[Columns]) -> Columns:
    """Return all columns, each once."""
    seen: dict[bytes, None] = {}
    product, sets = [], []
    for each in columns:
        for column, owner in enumerate(each.product.tolist()):
            pairs = each.pairs[each.start[column] : each.start[column + 1]]
            if len(pairs) and pairs.tobytes() not in seen:
                seen[pairs.tobytes()] = None
                product.append(owner)
                sets.append(pairs)
    sizes = np.cumsum([0, *(len(pairs) for pairs in sets)])
    flat = np.concatenate([np.zeros(0, np.int64), *sets])
    return Columns(np.array(product, np.int64), flat, sizes)


@dataclass(frozen=True)
class Pricing:
    """The result of one round of pricing."""

    bound: FloatArray
    """Greatest profit of each product, or an upper bound of it; at least 0."""
    columns: Columns
    """Sets of leads of greatest profit, some of each product."""


class PricingProblems:
    """The pricing problems of all products.

    Args:
        problem: The pairs; the rows of its first limit are the products. Its reduced costs tell
            which pairs the linear relaxation begins with.
    """

    def __init__(self, problem: RestrictedProblem) -> None:
        self.product = problem.limits[0].row
        self.products = len(problem.limits[0].upper)
        self._places, self._uses, uppers = [], [], [np.zeros((self.products, 0))]
        for limit in problem.limits:
            owner = find_owners(limit, self.product)
            inside = np.flatnonzero(owner >= 0)
            if len(inside) == 0:
                continue
            inside = inside[np.argsort(owner[inside], kind="stable")]
            number = np.arange(len(inside)) - np.searchsorted(owner[inside], owner[inside])
            upper = np.full((self.products, int(number.max()) + 1), np.inf)
            upper[owner[inside], number] = limit.upper[inside]
            place = np.full(len(limit.upper) + 1, -1)
            place[inside] = number + sum(each.shape[1] for each in uppers)
            self._places.append(place[limit.row])
            self._uses.append(limit.pair_use(np.arange(len(limit.row))))
            uppers.append(upper)
        self.upper = np.concatenate(uppers, axis=1)
        reach = LP_REACH * float(np.median(problem.value)) if len(problem.value) else 0.0
        self._active = np.flatnonzero(problem.reduced_cost > -reach)

    def solve(self, profit: FloatArray, known: Columns, *, most: int, tolerance: float) -> Pricing:
        """Return each product's greatest profit, and its sets of greatest profit.

        Args:
            profit: Profit of each pair.
            known: Sets that keep the rows; they make the search shorter.
            most: Most new columns of a product from each pass.
            tolerance: The search ends when bounds and sets differ by less in total.
        """
        prices = self._solve_relaxation(profit)
        reduced_cost = self._compute_reduced_cost(profit, prices)
        upper = self._bound(reduced_cost, prices)
        attained = np.zeros(self.products)
        np.maximum.at(attained, known.product, known.total(profit))
        bound, found = np.maximum(upper, attained), [known.take(np.zeros(0, np.int64))]
        products = np.arange(self.products)
        for width in WIDTHS:
            products = products[(bound - attained > ROUNDING * bound)[products]]
            is_free = np.abs(reduced_cost) < (upper - attained)[self.product]
            free = np.bincount(self.product[is_free], minlength=self.products)[products].sum()
            is_long = width > WIDTHS[0] and free * width > MAX_PARTIAL_SETS
            if is_long or (bound - attained)[products].sum() <= tolerance:
                break
            for part in np.array_split(products, -(-len(products) * width // PARTIAL_SETS)):
                tree = _Tree(self, prices, reduced_cost, (upper - attained) * (1 + ROUNDING), part)
                least, dropped = tree.search(width)
                found.append(tree.collect(most))
                attained[part] = np.maximum(attained, upper - least)[part]
                bound[part] = np.maximum(attained, upper - np.minimum(least, dropped))[part]
        return Pricing(bound, join_columns(found))

    def spread_use(self, pairs: IntArray) -> FloatArray:
        """Return the use of its product's rows by each of the given pairs: (pairs, rows)."""
        spread = np.zeros((len(pairs), self.upper.shape[1]))
        for place, use in zip(self._places, self._uses, strict=True):
            inside = np.flatnonzero(place[pairs] >= 0)
            spread[inside, place[pairs[inside]]] = use[pairs[inside]]
        return spread

    def _solve_relaxation(self, profit: FloatArray) -> FloatArray:
        """Return prices of the rows near the optimum of the linear relaxation, by product.

        The programs of all products are one, over the pairs that may be chosen: pairs that its
        prices make profitable are added. Any prices are valid.
        """
        prices = np.zeros_like(self.upper)
        for _ in range(LP_ROUNDS if self._places else 0):
            prices, value = self._solve_lp(profit, self._active)
            reduced_cost = self._compute_reduced_cost(profit, prices)
            if self._bound(reduced_cost, prices).sum() - value <= LP_PROGRESS * value:
                break
            self._active = np.union1d(self._active, np.flatnonzero(reduced_cost > 0))
        return prices

    def _solve_lp(self, profit: FloatArray, pairs: IntArray) -> tuple[FloatArray, float]:
        rows, columns, uses = [], [], []
        for place, use in zip(self._places, self._uses, strict=True):
            inside = np.flatnonzero((place[pairs] >= 0) & (use[pairs] != 0))
            rows.append(self.product[pairs[inside]] * self.upper.shape[1] + place[pairs[inside]])
            columns.append(inside)
            uses.append(use[pairs[inside]])
        row, column, use = (np.concatenate([*each]) for each in (rows, columns, uses))
        scale = np.ones(self.upper.size)
        np.maximum.at(scale, row, np.abs(use))
        used, row_of = np.unique(row, return_inverse=True)
        matrix = coo_array((use / scale[row], (row_of, column)), (len(used), len(pairs)))
        unit = max(1.0, float(np.abs(profit[pairs]).max(initial=0)))
        result = linprog(
            -profit[pairs] / unit,
            A_ub=matrix.tocsr(),
            b_ub=(self.upper.reshape(-1) / scale)[used],
            bounds=(0, 1),
            method="highs-ds",
        )
        prices = np.zeros(self.upper.size)
        if result.status != 0:
            return prices.reshape(self.upper.shape), 0.0
        prices[used] = np.maximum(-result.ineqlin.marginals, 0) * unit / scale[used]
        return prices.reshape(self.upper.shape), float(-result.fun) * unit

    def _compute_reduced_cost(self, profit: FloatArray, prices: FloatArray) -> FloatArray:
        reduced_cost = profit.copy()
        for place, use in zip(self._places, self._uses, strict=True):
            price = prices[self.product, np.maximum(place, 0)]
            reduced_cost -= np.where(place >= 0, price * use, 0)
        return reduced_cost

    def _bound(self, reduced_cost: FloatArray, prices: FloatArray) -> FloatArray:
        """Return the dual bound of each product's greatest profit."""
        capacity = np.where(prices > 0, prices, 0) * np.where(prices > 0, self.upper, 0)
        surplus = np.bincount(self.product, np.maximum(reduced_cost, 0), self.products)
        return np.asarray(capacity.sum(axis=1) + surplus, np.float64)


@dataclass(frozen=True)
class _PartialSets:
    """Partial sets of leads of several products; columns of equal length."""

    product: IntArray
    use: FloatArray
    """(sets, rows of a product)."""
    loss: FloatArray
    entry: IntArray
    """Number in the log of the last pair that entered; -1: none."""

    def take(self, sets: IntArray | BoolArray) -> "_PartialSets":
        """Return the given sets, in that order."""
        return _PartialSets(self.product[sets], self.use[sets], self.loss[sets], self.entry[sets])


class _Tree:
    """The decisions on the pairs of some products, breadth first.

    Args:
        problems: The pricing problems.
        prices: Price of each product's rows.
        reduced_cost: Of each pair, at these prices.
        allowed: By product: sets of this loss, or more, are not looked for.
        products: The products.
    """

    def __init__(
        self,
        problems: PricingProblems,
        prices: FloatArray,
        reduced_cost: FloatArray,
        allowed: FloatArray,
        products: IntArray,
    ) -> None:
        self._product, self._upper, self._products = problems.product, problems.upper, products
        self._least = np.full(problems.products, -1.0)
        self._least[products] = allowed[products]
        limit, cost = self._least[self._product], np.abs(reduced_cost)
        self._fixed = np.flatnonzero((reduced_cost > 0) & (limit >= 0) & (cost >= limit))
        self._base = np.zeros(self._upper.shape)
        np.add.at(self._base, self._product[self._fixed], problems.spread_use(self._fixed))
        free = np.flatnonzero(cost < limit)
        free = free[np.lexsort((-cost[free], self._product[free]))]
        self._free, self._cost = free, reduced_cost[free]
        self._use = problems.spread_use(free)
        owner = self._product[free]
        self._first = np.searchsorted(owner, np.arange(problems.products))
        self._end = np.searchsorted(owner, np.arange(problems.products), side="right")
        none = np.zeros((1, self._upper.shape[1]))
        self._most_use = np.concatenate([none, np.cumsum(np.maximum(self._use, 0), axis=0)])
        self._least_use = np.concatenate([none, np.cumsum(np.minimum(self._use, 0), axis=0)])
        self._price = np.where(prices > 0, prices, 0.0)
        self._capacity = np.where(prices > 0, self._upper, 0.0)
        self._log: list[tuple[IntArray, IntArray]] = []
        self._complete: list[_PartialSets] = []

    def search(self, width: int) -> tuple[FloatArray, FloatArray]:
        """Return the least loss found, and the least of the partial sets dropped, by product."""
        dropped = np.full(len(self._least), np.inf)
        count = len(self._products)
        sets = _PartialSets(
            self._products,
            self._base[self._products],
            np.zeros(count),
            np.full(count, -1),
        )
        sets = sets.take(self._is_open(sets, self._first[sets.product]))
        logged, depth = 0, 0
        while len(sets.product):
            pair = self._first[sets.product] + depth
            is_complete = pair >= self._end[sets.product]
            complete = sets.take(is_complete)
            loss = self._add_slack(complete, pair[is_complete])
            np.minimum.at(self._least, complete.product, loss)
            self._complete.append(complete)
            sets, pair = sets.take(~is_complete), pair[~is_complete]
            self._log.append((self._free[pair], sets.entry))
            entered = _PartialSets(
                sets.product,
                sets.use + self._use[pair],
                sets.loss + np.maximum(-self._cost[pair], 0),
                logged + np.arange(len(pair)),
            )
            logged += len(pair)
            left_out = replace(sets, loss=sets.loss + np.maximum(self._cost[pair], 0))
            sets = _concatenate(entered, left_out)
            after = np.concatenate([pair, pair]) + 1
            is_open = self._is_open(sets, after)
            sets, after = sets.take(is_open), after[is_open]
            loss = self._add_slack(sets, after)
            order = np.lexsort((loss, sets.product))
            ordered = sets.product[order]
            rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
            np.minimum.at(dropped, ordered[rank >= width], loss[order[rank >= width]])
            sets = sets.take(np.sort(order[rank < width]))
            depth += 1
        return self._least, dropped

    def collect(self, most: int) -> Columns:
        """Return the complete sets of least loss, `most` of each product."""
        complete = self._complete[0]
        for each in self._complete[1:]:
            complete = _concatenate(complete, each)
        order = np.lexsort((complete.entry, complete.loss, complete.product))
        ordered = complete.product[order]
        rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        best = complete.take(order[rank < most])
        pairs, previous = (np.concatenate(each) for each in zip(*self._log, strict=True))
        fixed = self._fixed[np.argsort(self._product[self._fixed], kind="stable")]
        first = np.searchsorted(self._product[fixed], np.arange(len(self._first) + 1))
        sets = []
        for product, last in zip(best.product.tolist(), best.entry.tolist(), strict=True):
            entered, entry = [], last
            while entry >= 0:
                entered.append(pairs[entry])
                entry = previous[entry]
            always = fixed[first[product] : first[product + 1]]
            sets.append(np.sort(np.concatenate([always, np.array(entered, np.int64)])))
        start = np.cumsum([0, *(len(each) for each in sets)])
        return Columns(best.product, np.concatenate([np.zeros(0, np.int64), *sets]), start)

    def _add_slack(self, sets: _PartialSets, after: IntArray) -> FloatArray:
        """Return the loss with the capacity that the pairs from `after` on can't use up."""
        owner = sets.product
        usable = self._most_use[self._end[owner]] - self._most_use[after]
        slack = np.maximum(self._capacity[owner] - sets.use - usable, 0)
        return np.asarray(sets.loss + (self._price[owner] * slack).sum(axis=1), np.float64)

    def _is_open(self, sets: _PartialSets, after: IntArray) -> BoolArray:
        """Return which sets may keep all rows and lose less than the best set known."""
        owner = sets.product
        least_use = sets.use + self._least_use[self._end[owner]] - self._least_use[after]
        fits = (least_use <= self._upper[owner]).all(axis=1)
        return np.asarray(fits & (self._add_slack(sets, after) < self._least[owner]), np.bool_)


def _concatenate(first: _PartialSets, second: _PartialSets) -> _PartialSets:
    return _PartialSets(
        np.concatenate([first.product, second.product]),
        np.concatenate([first.use, second.use]),
        np.concatenate([first.loss, second.loss]),
        np.concatenate([first.entry, second.entry]),
    )


def find_owners(limit: Limit, product: IntArray) -> IntArray:
    """Return the product of each row whose pairs are all of one product; -1 for other rows.

    Floors, which may be missed, and rows that all pairs together don't fill have none.
    """
    count = len(limit.upper)
    lowest, highest = np.full(count + 1, np.iinfo(np.int64).max), np.full(count + 1, -1)
    np.minimum.at(lowest, limit.row, product)
    np.maximum.at(highest, limit.row, product)
    is_own = (lowest == highest)[:count] & find_scarce_rows(limit)
    return np.where(is_own & ~limit.is_floor, highest[:count], -1)


def find_scarce_rows(limit: Limit) -> BoolArray:
    """Return which rows some set of pairs exceeds."""
    most = np.bincount(
        limit.row,
        np.maximum(limit.pair_use(np.arange(len(limit.row))), 0),
        len(limit.upper) + 1,
    )
    return np.asarray(most[: len(limit.upper)] > limit.upper, np.bool_)
