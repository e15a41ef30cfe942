"""What products ask of a lead, turned round: which products each possible answer leaves open.

A product asks `income_monthly >= 5000`. Turned round, the sorted bounds of all products cut the
line of incomes into intervals, and each interval has one set of products. So a lead's income is
looked up once (`searchsorted`) and answers for all products together. Text works alike: each value
that any product names has its set, one more stands for every other value and one for unknown.
The tables grow with the catalogue, never with the leads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.arrays import BoolArray, IntArray
from pipelines.pairs.eligibility.bitsets import Words, packed, united
from pipelines.pairs.eligibility.rules import Bounds, is_number


class Requirement(Protocol):
    """One thing that is asked of a pair."""

    @property
    def step(self) -> str:
        """The step of the funnel that it belongs to."""

    @property
    def attribute(self) -> str:
        """The lead's column that is judged; empty if none is."""

    def admitted(self, leads: pa.Table) -> Words:
        """Return the products that each lead's answer leaves open, shape (leads, words)."""


@dataclass(frozen=True)
class _ByAnswer(ABC):
    """Answers are numbered; `admits` has a set of products for each."""

    step: str
    attribute: str
    admits: Words

    def admitted(self, leads: pa.Table) -> Words:
        return self.admits[self._answers(leads[self.attribute])]

    @abstractmethod
    def _answers(self, column: pa.ChunkedArray) -> IntArray:
        """Return the number of each lead's answer."""


@dataclass(frozen=True)
class NumberAsked(_ByAnswer):
    """A number: answer 2i lies below point i (and above i - 1), answer 2i + 1 is point i."""

    points: np.ndarray[Any, np.dtype[np.float64]]
    """All bounds and members that any product names, sorted; after them comes unknown."""

    def _answers(self, column: pa.ChunkedArray) -> IntArray:
        values = np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)
        places = np.searchsorted(self.points, values)
        at = self.points[np.minimum(places, len(self.points) - 1)] == values
        answers: IntArray = np.asarray(2 * places + at, np.int64)
        answers[np.isnan(values)] = 2 * len(self.points) + 1
        return answers


@dataclass(frozen=True)
class TextAsked(_ByAnswer):
    """A text, or yes and no: answer i is value i, then come any other value and unknown."""

    values: tuple[str, ...]

    def _answers(self, column: pa.ChunkedArray) -> IntArray:
        texts = pc.cast(column, pa.string())
        named = pc.index_in(texts, value_set=pa.array(self.values, pa.string()), skip_nulls=True)
        answers: IntArray = np.array(pc.fill_null(named, len(self.values)), np.int64)
        answers[np.asarray(pc.is_null(texts))] = len(self.values) + 1
        return answers


@dataclass(frozen=True)
class ListAsked:
    """A list of texts: a pair is open if (with `refuses`: unless) the list names its product."""

    step: str
    attribute: str
    members: tuple[str, ...]
    sets: Words
    """The products that each member stands for; the last row, of any other text, is empty."""
    refuses: bool = False

    def admitted(self, leads: pa.Table) -> Words:
        """Return the products that each lead's list leaves open."""
        lists = pc.fill_null(leads[self.attribute].combine_chunks(), [])
        lengths = np.asarray(pc.list_value_length(lists).to_numpy(), np.int64)
        named = pc.index_in(lists.flatten(), value_set=pa.array(self.members, pa.string()))
        codes = np.asarray(pc.fill_null(named, len(self.members)).to_numpy(), np.int64)
        found = united(self.sets[codes], np.cumsum(lengths) - lengths, lengths)
        return ~found if self.refuses else found


@dataclass(frozen=True)
class SetsRefused:
    """Products that single leads may not be shown, such as one that the person was just shown."""

    step: str
    lead: IntArray
    """`lead_row`, sorted; a lead may stand several times."""
    sets: Words
    """What is refused to it."""
    attribute: str = "lead_row"

    def admitted(self, leads: pa.Table) -> Words:
        """Return all products but those refused; `leads` are in the order of `lead_row`."""
        rows = np.asarray(leads["lead_row"].to_numpy(), np.int64)
        ends = np.searchsorted(self.lead, [rows.min(initial=0), rows.max(initial=-1) + 1])
        near = slice(ends[0], ends[1])
        among = np.isin(self.lead[near], rows)
        lead, sets = self.lead[near][among], self.sets[near][among]
        starts = np.searchsorted(lead, rows)
        return ~united(sets, starts, np.searchsorted(lead, rows, side="right") - starts)


@dataclass(frozen=True)
class Always:
    """What holds of a product whoever the lead is."""

    step: str
    products: Words
    attribute: str = ""

    def admitted(self, leads: pa.Table) -> Words:
        """Return the same products for each lead."""
        return np.broadcast_to(self.products, (leads.num_rows, self.products.size))


def asked(
    step: str, attribute: str, kind: pa.DataType, bounds: Sequence[Bounds | None]
) -> Requirement:
    """Return what products ask of one attribute.

    Args:
        step: The step of the funnel.
        attribute: The lead's column.
        kind: Its type.
        bounds: What each product asks, in the order of `product_row`; None: nothing.
    """
    if is_number(kind):
        points = _points(bounds)
        rows = [_numbers_admitted(each, points) for each in bounds]
        return NumberAsked(step, attribute, _by_answer(rows, 2 * len(points) + 2), points)
    values = sorted({value for each in bounds if each for value in _named(each)})
    rows = [_texts_admitted(each, values) for each in bounds]
    return TextAsked(step, attribute, _by_answer(rows, len(values) + 2), tuple(values))


def listed(
    step: str, attribute: str, products_of: Mapping[str, BoolArray], *, refuses: bool = False
) -> ListAsked:
    """Return what a list of the lead opens, or closes; `products_of` has a set for each member."""
    members = sorted(products_of)
    size = next(iter(products_of.values())).size if members else 0
    rows = [products_of[name] for name in members] + [np.zeros(size, np.bool_)]
    return ListAsked(step, attribute, tuple(members), packed(np.array(rows)), refuses)


def _by_answer(rows: list[BoolArray], answers: int) -> Words:
    """Return sets by answer of flags by product and answer."""
    return packed(np.array(rows, np.bool_).reshape(len(rows), answers).T)


def _points(bounds: Sequence[Bounds | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    limits = [limit for each in bounds if each for limit in (each.at_least, each.at_most)]
    named = {value for each in bounds if each for value in _named(each)}
    found = {limit for limit in limits if limit is not None} | named
    return np.array(sorted(found) or [0.0], np.float64)


def _named(bounds: Bounds) -> set[Any]:
    return (bounds.one_of or set()) | bounds.none_of


def _numbers_admitted(
    bounds: Bounds | None, points: np.ndarray[Any, np.dtype[np.float64]]
) -> BoolArray:
    """Return which answers (intervals and points, then unknown) one product admits."""
    admits = np.ones(2 * len(points) + 2, np.bool_)
    if bounds is None:
        return admits
    if bounds.at_least is not None:
        admits[: 2 * np.searchsorted(points, bounds.at_least) + 1] = False
    if bounds.at_most is not None:
        admits[2 * np.searchsorted(points, bounds.at_most) + 2 :] = False
    if bounds.one_of is not None:
        is_member = np.zeros(len(admits), np.bool_)
        is_member[2 * np.searchsorted(points, sorted(bounds.one_of)) + 1] = True
        admits &= is_member
    if bounds.none_of:
        admits[2 * np.searchsorted(points, sorted(bounds.none_of)) + 1] = False
    admits[-1] = bounds.admits_unknown
    return admits


def _texts_admitted(bounds: Bounds | None, values: list[str]) -> BoolArray:
    """Return which answers (values, any other, unknown) one product admits."""
    admits = np.ones(len(values) + 2, np.bool_)
    if bounds is None:
        return admits
    if bounds.one_of is not None:
        admits[: len(values)] = [value in bounds.one_of for value in values]
        admits[-2] = False
    if bounds.none_of:
        admits[: len(values)] &= [value not in bounds.none_of for value in values]
    admits[-1] = bounds.admits_unknown
    return admits
