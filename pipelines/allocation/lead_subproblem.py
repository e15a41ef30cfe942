"""The lead side of the plan: what leads ask for at given prices, and the bound that proves it.

At prices p >= 0 of the constraints each lead takes, by itself, its K best pairs by surplus

    surplus = worth - sum over the pair's constraints of use x price

one per institution and only above 0. What they take is the subgradient of the dual function

    D(p) = sum over constraints of most x price + sum over leads of the surplus they take

which no plan that keeps the constraints exceeds.

Leads share nothing but the prices. So they are cut into parts and blocks, which may be anywhere
and in any order: all that is added up over leads are whole numbers, exact in any order.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pipelines.allocation.constraints import Limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

Result = TypeVar("Result")

BLOCK = 1 << 15
"""Pairs that are worked on at once: small enough to stay in a processor's cache."""


@dataclass(frozen=True)
class Demand:
    """What leads ask for: whole numbers."""

    surplus: int
    """Sum of the surplus that leads take, each rounded up."""
    used: tuple[IntArray, ...]
    """What they use of each constraint, by limit."""


@dataclass(frozen=True)
class Block:
    """Leads with their pairs as a matrix (leads, most pairs of one), padded with worth -inf."""

    worth: FloatArray
    rows: tuple[IntArray, ...]
    uses: tuple[FloatArray | None, ...]
    shared: IntArray
    """Places (in the flat matrix) of pairs whose institution has another pair of the lead."""
    shared_start: IntArray
    """Where in `shared` each group of one lead and institution begins."""
    pairs: IntArray
    """Row of the candidates at each place of the matrix; -1 where it is padded."""

    def surplus(self, prices: Sequence[FloatArray]) -> FloatArray:
        """Return worth less prices; -inf where the lead has a better pair at the institution."""
        surplus = self.worth.copy()
        scratch = np.empty_like(surplus)
        for row, use, price in zip(self.rows, self.uses, prices, strict=True):
            np.take(price, row, out=scratch, mode="clip")
            if use is not None:
                scratch *= use
            surplus -= scratch
        if len(self.shared):
            flat = surplus.reshape(-1)
            flat[self.shared] = _best_of_group(flat[self.shared], self.shared_start)
        return surplus


def _best_of_group(surplus: FloatArray, start: IntArray) -> FloatArray:
    """Return `surplus` with all but the first best of each group at -inf."""
    size = np.diff(start, append=len(surplus))
    best = np.repeat(np.maximum.reduceat(surplus, start), size)
    is_best = surplus == best
    so_far = np.cumsum(is_best)
    before = np.repeat(so_far[start] - is_best[start], size)
    return np.where(is_best & (so_far - before == 1), surplus, -np.inf)


class Leads:
    """All leads of a day with their pairs, cut into parts that know nothing of each other.

    Args:
        lead: Lead code of each pair, in rising order.
        group: Code of lead and institution, in rising order.
        worth: Of each pair, in whole units, >= 0.
        limits: The constraints of the pairs.
        most_offers: Most pairs of one lead (K).
        parts: Into how many parts the leads are cut; the result is the same.
        threads: How many blocks are worked on at once; the result is the same.
    """

    def __init__(
        self,
        lead: IntArray,
        group: IntArray,
        worth: FloatArray,
        limits: Sequence[Limit],
        *,
        most_offers: int,
        parts: int = 1,
        threads: int = 1,
    ) -> None:
        self._limits = limits
        self._most_offers = most_offers
        self._threads = threads
        ends = np.flatnonzero(np.diff(lead, append=-1))
        first = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
        shares_group = np.zeros(len(lead) + 1, np.bool_)
        shares_group[1:-1] = group[1:] == group[:-1]
        self._blocks = [
            self._block(first[leads], count, group, shares_group, worth)
            for part in np.array_split(np.arange(len(first)), parts)
            for leads, count in _blocks(part, ends - first + 1)
        ]

    def _block(
        self,
        first: IntArray,
        count: IntArray,
        group: IntArray,
        shares_group: BoolArray,
        worth: FloatArray,
    ) -> Block:
        places = np.arange(count.max())
        is_pair = places < count[:, None]
        pairs = np.where(is_pair, first[:, None] + places, -1)
        at = np.maximum(pairs, 0)
        is_shared = is_pair & (shares_group[at] | shares_group[at + 1])
        shared = np.flatnonzero(is_shared)
        groups = group[at.reshape(-1)[shared]]
        rows = {id(limit.row): limit.row[at] for limit in self._limits}
        return Block(
            worth=np.where(is_pair, worth[at], -np.inf),
            rows=tuple(rows[id(limit.row)] for limit in self._limits),
            uses=tuple(None if limit.use is None else limit.use[at] for limit in self._limits),
            shared=shared,
            shared_start=np.flatnonzero(np.diff(groups, prepend=-1)),
            pairs=pairs,
        )

    def demand(self, prices: Sequence[FloatArray]) -> Demand:
        """Return what all leads ask for at `prices` (one array by limit, one price by row)."""
        padded = [np.append(price, 0.0) for price in prices]
        surplus, used = 0, [np.zeros(len(limit.most), np.int64) for limit in self._limits]
        for of_block, used_by_block in self._each(lambda block: self._demand(block, padded)):
            surplus += of_block
            for total, part in zip(used, used_by_block, strict=True):
                np.add(total, part[:-1], out=total)
        return Demand(surplus, tuple(used))

    def _demand(self, block: Block, prices: Sequence[FloatArray]) -> tuple[int, list[IntArray]]:
        surplus = block.surplus(prices)
        best = _largest(surplus, self._most_offers + 1)
        taken = np.flatnonzero(surplus > best[:, :1])
        total = int(np.ceil(best[:, 1:]).sum())
        used = []
        for row, use, price in zip(block.rows, block.uses, prices, strict=True):
            weights = None if use is None else use.reshape(-1)[taken]
            of_row = np.bincount(row.reshape(-1)[taken], weights=weights, minlength=len(price))
            used.append(of_row.astype(np.int64))
        return total, used

    def within(self, prices: Sequence[FloatArray], reach: float) -> tuple[IntArray, FloatArray]:
        """Return the pairs that leads take or would take were they worth `reach` more, and how
        far each is from the choice turning: above 0 for what is taken.
        """
        padded = [np.append(price, 0.0) for price in prices]
        found = self._each(lambda block: self._within(block, padded, reach))
        pairs, margins = zip(*found, strict=True) if self._blocks else ((), ())
        rows = np.concatenate([np.zeros(0, np.int64), *pairs])
        order = np.argsort(rows)
        return rows[order], np.concatenate([np.zeros(0), *margins])[order]

    def _within(
        self, block: Block, prices: Sequence[FloatArray], reach: float
    ) -> tuple[IntArray, FloatArray]:
        surplus = block.surplus(prices)
        best = _largest(surplus, self._most_offers + 1)
        is_taken = surplus > best[:, :1]
        margin = surplus - np.where(is_taken, best[:, :1], best[:, 1:2])
        near = np.flatnonzero(margin > -reach)
        return block.pairs.reshape(-1)[near], margin.reshape(-1)[near]

    def _each(self, work: Callable[[Block], Result]) -> Iterator[Result]:
        if self._threads == 1:
            yield from map(work, self._blocks)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(work, self._blocks)


def _largest(surplus: FloatArray, count: int) -> FloatArray:
    """Return the `count` largest of each row, rising, each at least 0."""
    missing = count - surplus.shape[1]
    if missing > 0:
        surplus = np.pad(surplus, ((0, 0), (missing, 0)), constant_values=-np.inf)
    return np.maximum(np.sort(surplus, axis=1)[:, -count:], 0)


def _blocks(leads: IntArray, counts: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield leads of about the same number of pairs, as many as fit in a block; and the numbers."""
    leads = leads[np.argsort(counts[leads], kind="stable")]
    while len(leads):
        width = counts[leads[0]]
        size = max(1, BLOCK // width)
        if size < len(leads):  # no lead is padded to much more than it has
            size = int(np.searchsorted(counts[leads[:size]], 1.25 * width, side="right"))
        taken, leads = leads[:size], leads[size:]
        yield taken, counts[taken]
