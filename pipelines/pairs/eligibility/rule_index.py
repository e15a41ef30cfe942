"""Rule index: for each possible value of a lead's attribute, the products that admit it.

A product requires `income_monthly >= 5000`. The sorted bounds of all products cut the incomes into
intervals, and each interval has one set of products. So one lookup of a lead's income
(`searchsorted`) applies the rule of every product at once. Text works alike: one set for each value
that some product names, one for every other value, one for unknown. The index grows with the
catalogue, not with the leads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.pairs.eligibility.bitsets import Bitsets, pack, unite_runs
from pipelines.pairs.eligibility.rules import Bounds, is_number, normalise_text


class Requirement(Protocol):
    """One requirement of a pair, for all products together."""

    @property
    def step(self) -> str:
        """The step of the funnel that it belongs to."""

    @property
    def attribute(self) -> str:
        """The lead's column that it reads; empty if none."""

    def admit(self, leads: pa.Table) -> Bitsets:
        """Return the products that admit each lead, shape (leads, words)."""


@dataclass(frozen=True)
class _ValueIndex(ABC):
    """Values have codes; `admitting` has a set of products for each code."""

    step: str
    attribute: str
    admitting: Bitsets

    def admit(self, leads: pa.Table) -> Bitsets:
        return self.admitting[self._encode(leads[self.attribute])]

    @abstractmethod
    def _encode(self, column: pa.ChunkedArray) -> IntArray:
        """Return the code of each lead's value."""


@dataclass(frozen=True)
class NumberIndex(_ValueIndex):
    """A number: code 2i lies below point i (and above i - 1), code 2i + 1 is point i."""

    points: FloatArray
    """All bounds and listed numbers of any product, sorted; the last code is unknown."""

    def _encode(self, column: pa.ChunkedArray) -> IntArray:
        values = np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)
        positions = np.searchsorted(self.points, values)
        is_point = self.points[np.minimum(positions, len(self.points) - 1)] == values
        codes: IntArray = np.asarray(2 * positions + is_point, np.int64)
        codes[np.isnan(values)] = 2 * len(self.points) + 1
        return codes


@dataclass(frozen=True)
class TextIndex(_ValueIndex):
    """A text or a boolean: code i is value i, then follow any other value and unknown."""

    values: tuple[str, ...]
    """As `normalise_text` writes them."""

    def _encode(self, column: pa.ChunkedArray) -> IntArray:
        texts = _normalise_texts(pc.cast(column, pa.string()))
        index = pc.index_in(texts, value_set=pa.array(self.values, pa.string()), skip_nulls=True)
        codes: IntArray = np.array(pc.fill_null(index, len(self.values)), np.int64)
        codes[np.asarray(pc.is_null(texts))] = len(self.values) + 1
        return codes


@dataclass(frozen=True)
class ListIndex:
    """A list of texts: it admits the products of its members, or excludes them (`excludes`)."""

    step: str
    attribute: str
    members: tuple[str, ...]
    products: Bitsets
    """The products of each member; the last row, of any other text, is empty."""
    excludes: bool = False

    def admit(self, leads: pa.Table) -> Bitsets:
        """Return the products that each lead's list admits."""
        lists = pc.fill_null(leads[self.attribute].combine_chunks(), [])
        lengths = np.asarray(pc.list_value_length(lists).to_numpy(), np.int64)
        index = pc.index_in(lists.flatten(), value_set=pa.array(self.members, pa.string()))
        codes = np.asarray(pc.fill_null(index, len(self.members)).to_numpy(), np.int64)
        listed = unite_runs(self.products[codes], np.cumsum(lengths) - lengths, lengths)
        return ~listed if self.excludes else listed


@dataclass(frozen=True)
class LeadExclusions:
    """Products that single leads may not be shown, such as one that the person was just shown."""

    step: str
    lead: IntArray
    """`lead_row`, sorted; a lead may occur several times."""
    excluded: Bitsets
    """The products that are excluded for it."""
    attribute: str = "lead_row"

    def admit(self, leads: pa.Table) -> Bitsets:
        """Return all products but the excluded ones; `leads` is in the order of `lead_row`."""
        rows = np.asarray(leads["lead_row"].to_numpy(), np.int64)
        ends = np.searchsorted(self.lead, [rows.min(initial=0), rows.max(initial=-1) + 1])
        near = slice(ends[0], ends[1])
        is_given = np.isin(self.lead[near], rows)
        lead, excluded = self.lead[near][is_given], self.excluded[near][is_given]
        starts = np.searchsorted(lead, rows)
        return ~unite_runs(excluded, starts, np.searchsorted(lead, rows, side="right") - starts)


@dataclass(frozen=True)
class ProductCondition:
    """A condition of the product alone, the same for every lead."""

    step: str
    products: Bitsets
    attribute: str = ""

    def admit(self, leads: pa.Table) -> Bitsets:
        """Return the same products for each lead."""
        return np.broadcast_to(self.products, (leads.num_rows, self.products.size))


def index_attribute(
    step: str, attribute: str, kind: pa.DataType, bounds: Sequence[Bounds | None]
) -> Requirement:
    """Return the index of what all products require of one attribute.

    Args:
        step: The step of the funnel.
        attribute: The lead's column.
        kind: Its type.
        bounds: Bounds of each product, in the order of `product_row`; None: no requirement.
    """
    if is_number(kind):
        points = _list_points(bounds)
        rows = [_admit_numbers(product, points) for product in bounds]
        return NumberIndex(step, attribute, _pack_by_code(rows, 2 * len(points) + 2), points)
    bounds = [product and _normalise_bounds(product) for product in bounds]
    values = sorted({value for product in bounds if product for value in _listed_values(product)})
    rows = [_admit_texts(product, values) for product in bounds]
    return TextIndex(step, attribute, _pack_by_code(rows, len(values) + 2), tuple(values))


def index_list(
    step: str, attribute: str, products_of: Mapping[str, BoolArray], *, excludes: bool = False
) -> ListIndex:
    """Return the index of a list of the lead; `products_of` has a set for each member."""
    members = sorted(products_of)
    size = next(iter(products_of.values())).size if members else 0
    rows = [products_of[name] for name in members] + [np.zeros(size, np.bool_)]
    return ListIndex(step, attribute, tuple(members), pack(np.array(rows)), excludes)


def _pack_by_code(rows: list[BoolArray], codes: int) -> Bitsets:
    """Return a set of products for each code, from flags by product and code."""
    return pack(np.array(rows, np.bool_).reshape(len(rows), codes).T)


def _normalise_texts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts as rules compare them; each distinct text is normalised once."""
    coded = texts.combine_chunks().dictionary_encode()
    normalised = [normalise_text(text) for text in coded.dictionary.to_pylist()]
    return pc.take(pa.array(normalised, pa.string()), coded.indices)


def _normalise_bounds(bounds: Bounds) -> Bounds:
    one_of = bounds.one_of and {normalise_text(value) for value in bounds.one_of}
    none_of = {normalise_text(value) for value in bounds.none_of}
    return replace(bounds, one_of=one_of, none_of=none_of)


def _list_points(bounds: Sequence[Bounds | None]) -> FloatArray:
    stated = [product for product in bounds if product]
    ends = [end for product in stated for end in (product.at_least, product.at_most)]
    points = {end for end in ends if end is not None}
    points |= {value for product in stated for value in _listed_values(product)}
    return np.array(sorted(points) or [0.0], np.float64)


def _listed_values(bounds: Bounds) -> set[Any]:
    return (bounds.one_of or set()) | bounds.none_of


def _admit_numbers(bounds: Bounds | None, points: FloatArray) -> BoolArray:
    """Return which codes (intervals and points, then unknown) one product admits."""
    admitted = np.ones(2 * len(points) + 2, np.bool_)
    if bounds is None:
        return admitted
    if bounds.at_least is not None:
        admitted[: 2 * np.searchsorted(points, bounds.at_least) + 1] = False
    if bounds.at_most is not None:
        admitted[2 * np.searchsorted(points, bounds.at_most) + 2 :] = False
    if bounds.one_of is not None:
        is_member = np.zeros(len(admitted), np.bool_)
        is_member[2 * np.searchsorted(points, sorted(bounds.one_of)) + 1] = True
        admitted &= is_member
    if bounds.none_of:
        admitted[2 * np.searchsorted(points, sorted(bounds.none_of)) + 1] = False
    admitted[-1] = bounds.admits_unknown
    return admitted


def _admit_texts(bounds: Bounds | None, values: list[str]) -> BoolArray:
    """Return which codes (values, any other, unknown) one product admits."""
    admitted = np.ones(len(values) + 2, np.bool_)
    if bounds is None:
        return admitted
    if bounds.one_of is not None:
        admitted[: len(values)] = [value in bounds.one_of for value in values]
        admitted[-2] = False
    if bounds.none_of:
        admitted[: len(values)] &= [value not in bounds.none_of for value in values]
    admitted[-1] = bounds.admits_unknown
    return admitted
