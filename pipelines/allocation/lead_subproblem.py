"""The Lagrangian subproblem of each lead, and the dual function with its subgradient.

At prices p >= 0 of the limits, each lead chooses its K best pairs by surplus (the reduced cost of
the pair with respect to the limits)

    surplus = value - sum over the pair's limits of use x price

one per institution, if positive. Their use of each row is the subgradient of the dual function

    D(p) = sum over limits of upper x price + sum over leads of the surplus they choose

which is at least the value of every feasible plan.

Leads are coupled by the prices alone. They are split into parts and blocks, which can be evaluated
anywhere and in any order: every sum over leads is a sum of integers, exact in any order.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.allocation.problem import Limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

Result = TypeVar("Result")

BLOCK = 1 << 15
"""Pairs of a block: few enough to stay in a processor's cache."""


@dataclass(frozen=True)
class Demand:
    """The total of all leads' choices, in integers."""

    surplus: int
    """Sum of the chosen surplus, rounded up for each lead."""
    use: tuple[IntArray, ...]
    """Use of each row, by limit."""


@dataclass(frozen=True)
class Block:
    """Leads with their pairs as a matrix (leads, most pairs of one), padded with value -inf."""

    value: FloatArray
    rows: tuple[NDArray[Any], ...]
    uses: tuple[NDArray[Any] | None, ...]
    """Integers, in 32 bits where these suffice."""
    shared: IntArray
    """Flat positions of pairs whose institution has another pair of the lead."""
    shared_start: IntArray
    """Position in `shared` where each (lead, institution) begins."""
    pairs: NDArray[Any]
    """Row number of the pair at each position of the matrix; any where it is padded."""

    def surplus(self, prices: Sequence[FloatArray]) -> FloatArray:
        """Return the surplus; -inf where the lead has a better pair at the institution."""
        surplus = self.value.copy()
        scratch = np.empty_like(surplus)
        for row, use, price in zip(self.rows, self.uses, prices, strict=True):
            np.take(price, row, out=scratch, mode="clip")
            if use is not None:
                scratch *= use
            surplus -= scratch
        if len(self.shared):
            flat = surplus.reshape(-1)
            flat[self.shared] = _mask_all_but_best(flat[self.shared], self.shared_start)
        return surplus


def _mask_all_but_best(surplus: FloatArray, start: IntArray) -> FloatArray:
    """Return `surplus` with all but the first best of each group at -inf."""
    size = np.diff(start, append=len(surplus))
    best = np.repeat(np.maximum.reduceat(surplus, start), size)
    is_best = surplus == best
    so_far = np.cumsum(is_best)
    before = np.repeat(so_far[start] - is_best[start], size)
    return np.where(is_best & (so_far - before == 1), surplus, -np.inf)


class LeadSubproblems:
    """The subproblems of all leads, split into independent parts.

    Args:
        lead: Lead code of each pair, in rising order.
        group: Code of lead and institution, in rising order.
        value: Value of each pair, in integer units, >= 0.
        limits: The limits of the pairs.
        rows: The pairs that leads may choose, in rising order; None: all.
        max_offers: Most pairs of one lead (K).
        parts: Number of parts; the result is the same.
        threads: Blocks evaluated at once; the result is the same.
    """

    def __init__(  # noqa: PLR0913
        self,
        lead: IntArray,
        group: IntArray,
        value: FloatArray,
        limits: Sequence[Limit],
        *,
        max_offers: int,
        rows: IntArray | None = None,
        parts: int = 1,
        threads: int = 1,
    ) -> None:
        self._limits = limits
        self._max_offers = max_offers
        self._threads = threads
        rows = np.arange(len(lead)) if rows is None else rows
        lead, group = lead[rows], group[rows]
        ends = np.flatnonzero(np.diff(lead, append=-1))
        first = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
        shares_group = np.zeros(len(lead) + 1, np.bool_)
        shares_group[1:-1] = group[1:] == group[:-1]
        self._blocks = [
            self._build_block(rows, first[leads], count, group, shares_group, value)
            for part in np.array_split(np.arange(len(first)), parts)
            for leads, count in _split_into_blocks(part, ends - first + 1)
        ]

    def _build_block(
        self,
        rows: IntArray,
        first: IntArray,
        count: IntArray,
        group: IntArray,
        shares_group: BoolArray,
        value: FloatArray,
    ) -> Block:
        columns = np.arange(count.max())
        is_pair = columns < count[:, None]
        at = np.where(is_pair, first[:, None] + columns, 0)
        is_shared = is_pair & (shares_group[at] | shares_group[at + 1])
        shared = np.flatnonzero(is_shared)
        groups = group[at.reshape(-1)[shared]]
        pairs = rows[at]
        row_by_array = {id(limit.row): _shrink(limit.row[pairs]) for limit in self._limits}
        return Block(
            value=np.where(is_pair, value[pairs], -np.inf),
            rows=tuple(row_by_array[id(limit.row)] for limit in self._limits),
            uses=tuple(
                None if limit.use is None else _shrink(limit.use[pairs]) for limit in self._limits
            ),
            shared=shared,
            shared_start=np.flatnonzero(np.diff(groups, prepend=-1)),
            pairs=_shrink(pairs),
        )

    def solve(self, prices: Sequence[FloatArray]) -> Demand:
        """Return the total demand at `prices` (one array by limit, one price by row)."""
        padded = [np.append(price, 0.0) for price in prices]
        surplus, use = 0, [np.zeros(len(limit.upper), np.int64) for limit in self._limits]
        for block_surplus, block_use in self._map_blocks(
            lambda block: self._solve_block(block, padded)
        ):
            surplus += block_surplus
            for total, part in zip(use, block_use, strict=True):
                np.add(total, part[:-1], out=total)
        return Demand(surplus, tuple(use))

    def _solve_block(
        self, block: Block, prices: Sequence[FloatArray]
    ) -> tuple[int, list[IntArray]]:
        surplus = block.surplus(prices)
        best = _find_largest(surplus, self._max_offers + 1)
        chosen = np.flatnonzero(surplus > best[:, :1])
        total = int(np.ceil(best[:, 1:]).sum())
        use_by_limit = []
        for row, use, price in zip(block.rows, block.uses, prices, strict=True):
            weights = None if use is None else use.reshape(-1)[chosen]
            total_use = np.bincount(row.reshape(-1)[chosen], weights=weights, minlength=len(price))
            use_by_limit.append(total_use.astype(np.int64))
        return total, use_by_limit

    def find_near_choice(
        self, prices: Sequence[FloatArray], reach: float
    ) -> tuple[IntArray, FloatArray]:
        """Return the pairs chosen at `prices`, or with `reach` more value, and their reduced costs.

        The reduced cost of a pair is its surplus less that of the pair at the threshold of the
        lead's choice: above 0 if the pair is chosen, and near 0 if the choice is about to change.
        """
        padded = [np.append(price, 0.0) for price in prices]
        results = self._map_blocks(lambda block: self._find_in_block(block, padded, reach))
        pairs, reduced_costs = zip(*results, strict=True) if self._blocks else ((), ())
        rows = np.concatenate([np.zeros(0, np.int64), *pairs])
        order = np.argsort(rows)
        return rows[order], np.concatenate([np.zeros(0), *reduced_costs])[order]

    def _find_in_block(
        self, block: Block, prices: Sequence[FloatArray], reach: float
    ) -> tuple[IntArray, FloatArray]:
        surplus = block.surplus(prices)
        best = _find_largest(surplus, self._max_offers + 1)
        is_chosen = surplus > best[:, :1]
        reduced_cost = surplus - np.where(is_chosen, best[:, :1], best[:, 1:2])
        near = np.flatnonzero(reduced_cost > -reach)
        return block.pairs.reshape(-1)[near].astype(np.int64), reduced_cost.reshape(-1)[near]

    def _map_blocks(self, work: Callable[[Block], Result]) -> Iterator[Result]:
        if self._threads == 1:
            yield from map(work, self._blocks)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(work, self._blocks)


def _shrink(integers: NDArray[Any]) -> NDArray[Any]:
    """Return integers in 32 bits if these suffice."""
    largest = np.abs(integers).max(initial=0)
    return integers.astype(np.int32) if largest <= np.iinfo(np.int32).max else integers


def _find_largest(surplus: FloatArray, count: int) -> FloatArray:
    """Return the `count` largest of each row, rising, each at least 0."""
    missing = count - surplus.shape[1]
    if missing > 0:
        surplus = np.pad(surplus, ((0, 0), (missing, 0)), constant_values=-np.inf)
    return np.maximum(np.sort(surplus, axis=1)[:, -count:], 0)


def split_at_leads(lead: IntArray, rows: IntArray, size: int) -> Iterator[IntArray]:
    """Yield `rows` in order, at least `size` together, and all pairs of a lead together.

    Args:
        lead: Lead code of each pair, in rising order.
        rows: Some of the pairs, in rising order.
        size: Least number of pairs of a part but the last.
    """
    first = 0
    while first < len(rows):
        last = min(first + size, len(rows)) - 1
        end = int(np.searchsorted(lead, lead[rows[last]], side="right"))
        after = int(np.searchsorted(rows, end))
        yield rows[first:after]
        first = after


def _split_into_blocks(leads: IntArray, counts: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield the leads of each block, with about the same number of pairs, and their counts."""
    leads = leads[np.argsort(counts[leads], kind="stable")]
    while len(leads):
        width = counts[leads[0]]
        size = max(1, BLOCK // width)
        if size < len(leads):  # no lead is padded to much more than its own pairs
            size = int(np.searchsorted(counts[leads[:size]], 1.25 * width, side="right"))
        block, leads = leads[:size], leads[size:]
        yield block, counts[block]
