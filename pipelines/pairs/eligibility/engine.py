"""Which products a lead may be shown: every hard rule, judged for all pairs by set.

For each step, each lead's answer is looked up and gives the set of products that it leaves open;
the sets meet (`&`), and the number of bits left after each step is the lead's funnel: the reason
why a lead has no product. No pair is touched singly, and none that is excluded is stored: `verdict`
explains any of them on demand.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expectations import policy
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.pairs.eligibility.bitsets import Words, counted, packed, unpacked
from pipelines.pairs.eligibility.contact_frequency import refused_for_earlier_offers
from pipelines.pairs.eligibility.rule_index import Always, Requirement, asked, listed
from pipelines.pairs.eligibility.rules import Bounds, CompiledRules

Counts = NDArray[np.int32]

STEPS = (
    "consent",
    "suppressed",
    "segment",
    "currency",
    "amount",
    "term",
    "rules",
    "price_cap",
    "risk_band",
    "shown_lately",
    "exclusive",
)
"""What a pair must meet, in the order in which it is judged."""

STATED_STEPS = STEPS[: STEPS.index("risk_band")]
"""Those that rest on what is stated of lead and product: not on what a model thinks of the lead,
nor on what Banyan showed the person before."""

LEADS_AT_ONCE = 32_768
"""Leads that are judged together: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class Eligibility:
    """What the hard rules leave of the day's pairs."""

    products: int
    """How many are open."""
    words: Words
    """Of each lead, by `lead_row`: the products that it may be shown."""
    remaining: dict[str, Counts]
    """Step -> how many products each lead had left after it; `open` before the first."""

    @property
    def pairs(self) -> IntArray:
        """Return how many products each lead may be shown."""
        return counted(self.words)

    def table(self, first: int = 0, last: int | None = None) -> pa.Table:
        """Return the pairs (`lead_row`, `product_row`) of the leads `first` to before `last`."""
        lead, product = np.nonzero(unpacked(self.words[first:last], self.products))
        return pa.table(
            {
                "lead_row": pa.array((lead + first).astype(np.int32)),
                "product_row": pa.array(product.astype(np.int32)),
            }
        )

    def of_leads(self, rows: IntArray) -> pa.Table:
        """Return the pairs (`lead_row`, `product_row`) of the leads `rows`, ordered by key."""
        rows = np.sort(rows)
        lead, product = np.nonzero(unpacked(self.words[rows], self.products))
        return pa.table(
            {
                "lead_row": pa.array(rows[lead], pa.int32()),
                "product_row": pa.array(product, pa.int32()),
            }
        )

    def portions(self, pairs: int) -> Iterator[tuple[int, int]]:
        """Yield runs of leads (first, before which) with about so many pairs, none torn apart."""
        portion = np.cumsum(self.pairs) // pairs
        starts = np.flatnonzero(np.diff(portion, prepend=-1))
        yield from pairwise([*starts.tolist(), len(portion)])


def judge(
    connection: duckdb.DuckDBPyConnection,
    rules: CompiledRules,
    day: date,
    steps: Collection[str] = STEPS,
) -> Eligibility:
    """Return which pairs remain, and per lead how many did after each step.

    Args:
        connection: Where leads, with the `pd` that a risk band asks for, and products are loaded.
        rules: What the products' own rules ask.
        day: The business date, for the words of its consent policy.
        steps: What a pair must meet.
    """
    requirements = [each for each in requirements_of(connection, rules, day) if each.step in steps]
    (leads,), (products,) = (
        connection.table(name).count("*").fetchall()[0] for name in ("leads", "products")
    )
    every_product = packed(np.ones(products, np.bool_))
    words = np.empty((leads, every_product.size), np.uint64)
    remaining = {step: np.empty(leads, np.int32) for step in ("open", *steps)}
    for portion in portions(connection, requirements):
        first = portion["lead_row"][0].as_py()
        rows = slice(first, first + portion.num_rows)
        left = np.tile(every_product, (portion.num_rows, 1))
        remaining["open"][rows] = products
        for step in steps:
            for requirement in requirements:
                if requirement.step == step:
                    left &= requirement.admitted(portion)
            remaining[step][rows] = counted(left)
        words[rows] = left
    return Eligibility(int(products), words, remaining)


def requirements_of(
    connection: duckdb.DuckDBPyConnection, rules: CompiledRules, day: date
) -> list[Requirement]:
    """Return everything that is asked of a pair, in the order of `STEPS`."""
    products = connection.sql("from products order by product_row").to_arrow_table()
    leads = _types(connection)
    of_institution, every = _of_institutions(products), np.ones(products.num_rows, np.bool_)
    covered = {policy.consent(day).every_institution: every}
    ranges = {
        "amount": ("amount", _ranges(products, "amount_min", "amount_max")),
        "term": (
            "term_months",
            _ranges(products, "term_min_months", "term_max_months", unknown=True),
        ),
        "risk_band": ("pd", _ranges(products, "pd_min", "pd_max", default=(0.0, 1.0))),
    }
    found: list[Requirement] = [
        listed("consent", "consent_scope", of_institution | covered),
        listed("suppressed", "suppressed_institutions", of_institution, refuses=True),
        Always("price_cap", packed(_within_cap(products))),
        *(
            asked(name, name, pa.string(), [Bounds(one_of={v}) for v in products[name].to_pylist()])
            for name in ("segment", "currency")
        ),
        *(
            asked(step, attribute, pa.float64(), bounds)
            for step, (attribute, bounds) in ranges.items()
            if attribute in leads
        ),
        *_own_rules(products, leads, rules),
        *refused_for_earlier_offers(connection, products, day),
    ]
    return sorted(found, key=lambda requirement: STEPS.index(requirement.step))


def _own_rules(
    products: pa.Table, leads: dict[str, pa.DataType], rules: CompiledRules
) -> Iterator[Requirement]:
    keys = _keys(products)
    for attribute, of_product in rules.bounds.items():
        bounds = [of_product.get(key) for key in keys]
        if any(bounds):
            yield asked("rules", attribute, leads[attribute], bounds)


def portions(
    connection: duckdb.DuckDBPyConnection,
    requirements: Sequence[Requirement],
    leads: str = "leads",
) -> Iterator[pa.Table]:
    """Yield the columns that are judged, some leads at a time, in the order of `lead_row`.

    Args:
        connection: Where leads are loaded.
        requirements: What is asked.
        leads: SQL table of those that are judged.
    """
    names = {each.attribute for each in requirements} - {""}
    columns = ", ".join(f'"{name}"' for name in sorted(names | {"lead_row"}))
    reader = connection.sql(f"select {columns} from {leads} order by lead_row")
    for batch in reader.to_arrow_reader(LEADS_AT_ONCE):
        yield pa.Table.from_batches([batch])


def _types(connection: duckdb.DuckDBPyConnection) -> dict[str, pa.DataType]:
    schema = connection.sql("from leads limit 0").to_arrow_table().schema
    return {field.name: field.type for field in schema}


def _keys(products: pa.Table) -> list[tuple[str, str]]:
    ids = (products[name].to_pylist() for name in ("institution_id", "product_id"))
    return list(zip(*ids, strict=True))


def _of_institutions(products: pa.Table) -> dict[str, BoolArray]:
    owner = np.asarray(products["institution_id"].to_pylist(), np.str_)
    return {str(name): owner == name for name in np.unique(owner)}


def _ranges(
    products: pa.Table,
    low: str,
    high: str,
    *,
    unknown: bool = False,
    default: tuple[float | None, float | None] = (None, None),
) -> list[Bounds]:
    ends = (
        [fallback if end is None else float(end) for end in products[name].to_pylist()]
        for name, fallback in zip((low, high), default, strict=True)
    )
    return [
        Bounds(at_least=least, at_most=most, or_unknown=unknown)
        for least, most in zip(*ends, strict=True)
    ]


def _within_cap(products: pa.Table) -> BoolArray:
    """Return whether each product's cheapest loan costs no more than the law allows."""
    cap, cheapest = (
        np.asarray(products[name].cast(pa.float64()).to_numpy(), np.float64)
        for name in ("price_cap", "apr_min")
    )
    return np.isnan(cap) | (cheapest <= cap)
