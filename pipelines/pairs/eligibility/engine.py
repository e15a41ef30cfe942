"""Eligibility engine: apply every hard rule to all pairs of the day, by set.

For each step, the index of a rule gives each lead the set of products that admit it. The sets are
intersected (`&`), and the number of bits that remain after each step is the lead's funnel: the
reason why a lead has no product. No pair is evaluated singly and no excluded pair is stored;
`reference_rules` explains any of them on demand.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expectations import policy
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.database import run_query
from pipelines.core.engine.engine import LOCAL, Engine
from pipelines.core.engine.task import Task
from pipelines.pairs.eligibility.bitsets import (
    Bitsets,
    count_products,
    count_words,
    from_column,
    pack,
    to_column,
    unpack,
)
from pipelines.pairs.eligibility.price_limits import index_prices
from pipelines.pairs.eligibility.rule_index import (
    LeadExclusions,
    ProductCondition,
    Requirement,
    index_attribute,
    index_list,
)
from pipelines.pairs.eligibility.rules import Bounds, CompiledRules

SQL = Path(__file__).parent / "sql"
Counts = NDArray[np.int32]

STEPS = (
    "consent",
    "suppressed",
    "segment",
    "currency",
    "amount",
    "term",
    "rules",
    "cost_disclosure",
    "price_cap",
    "risk_band",
    "contact_frequency",
    "exclusive",
)
"""Steps of the funnel, in the order in which they are applied."""

STATED_STEPS = STEPS[: STEPS.index("risk_band")]
"""Steps that read only stated facts of lead and product: no model score and no earlier offer."""

ALWAYS_READ = frozenset({"lead_row", "term_months"})
"""Columns of a lead that are read for any requirement: the whole cost depends on the term."""

LEADS_PER_BATCH = 32_768
"""Leads that are evaluated together: bounds the memory, never changes the result."""


@dataclass(frozen=True)
class Eligibility:
    """The pairs of the day that meet the hard rules."""

    products: int
    """Number of open products."""
    bitsets: Bitsets
    """Eligible products of each lead, by `lead_row`."""
    remaining: dict[str, Counts]
    """Step -> number of products that each lead had left after it; `open` before the first."""

    @property
    def pairs_per_lead(self) -> IntArray:
        """The number of eligible products of each lead."""
        return count_products(self.bitsets)

    def select_pairs_between(self, first: int = 0, last: int | None = None) -> pa.Table:
        """Return the pairs (`lead_row`, `product_row`) of the leads from `first` to `last` - 1."""
        lead, product = np.nonzero(unpack(self.bitsets[first:last], self.products))
        return make_pair_table(lead + first, product)

    def select_pairs(self, leads: IntArray) -> pa.Table:
        """Return the pairs (`lead_row`, `product_row`) of these leads, ordered by key."""
        rows = np.sort(leads)
        lead, product = np.nonzero(unpack(self.bitsets[rows], self.products))
        return make_pair_table(rows[lead], product)

    def select_leads(self, first: int, last: int) -> pa.Table:
        """Return the leads from `first` to `last` - 1 with their products, as `list_pairs` reads
        them (`lead_row`, `eligible`)."""
        return pa.table(
            {
                "lead_row": pa.array(np.arange(first, last), pa.int32()),
                "eligible": to_column(self.bitsets[first:last]),
            }
        )

    def split_leads(self, pairs: int) -> Iterator[tuple[int, int]]:
        """Yield runs of leads (first, end) of about so many pairs; a lead's pairs stay together."""
        run = np.cumsum(self.pairs_per_lead) // pairs
        starts = np.flatnonzero(np.diff(run, prepend=-1))
        yield from pairwise([*starts.tolist(), len(run)])


def find_eligible_pairs(
    connection: duckdb.DuckDBPyConnection,
    rules: CompiledRules,
    day: date,
    steps: Collection[str] = STEPS,
    engine: Engine = LOCAL,
) -> Eligibility:
    """Return the pairs that meet the hard rules, and how many each lead had after each step.

    Args:
        connection: With `leads`, with the `pd` that risk bands need, `products` and
            `earlier_offers`.
        rules: The products' own rules.
        day: The business date.
        steps: The steps to apply.
        engine: Evaluates the requirements, by portions of leads.
    """
    requirements = [
        requirement
        for requirement in build_requirements(connection, rules, day)
        if requirement.step in steps
    ]
    (leads,), (products,) = (
        connection.table(name).count("*").fetchall()[0] for name in ("leads", "products")
    )
    task = ApplyRules(requirements, tuple(steps), int(products))
    bitsets = np.empty((leads, count_words(products)), np.uint64)
    remaining = {step: np.empty(leads, np.int32) for step in ("open", *steps)}
    first = 0
    for found in engine.map(connection, task, read_lead_batches(connection, requirements)):
        rows = slice(first, first + found.num_rows)
        bitsets[rows] = from_column(found["eligible"])
        for step, counts in remaining.items():
            counts[rows] = found[step].to_numpy()
        first += found.num_rows
    return Eligibility(int(products), bitsets, remaining)


@dataclass(frozen=True)
class ApplyRules(Task):
    """Applies requirements to a portion of leads: its result has `eligible`, a set of products for
    each lead, and their number after each step."""

    requirements: Sequence[Requirement]
    steps: tuple[str, ...]
    products: int
    """Number of open products."""

    def run(self, _: duckdb.DuckDBPyConnection, portion: pa.Table) -> pa.Table:
        """Return the eligible products of the leads that `read_lead_batches` yields."""
        every_product = pack(np.ones(self.products, np.bool_))
        admitted = np.tile(every_product, (portion.num_rows, 1))
        remaining = {"open": np.full(portion.num_rows, self.products, np.int32)}
        for step in self.steps:
            for requirement in self.requirements:
                if requirement.step == step:
                    admitted &= requirement.admit(portion)
            remaining[step] = count_products(admitted).astype(np.int32)
        return pa.table({"eligible": to_column(admitted)} | remaining)


def list_pairs(leads: pa.Table, products: int) -> pa.Table:
    """Return the pairs (`lead_row`, `product_row`) of leads with their products, ordered by key.

    Args:
        leads: As `Eligibility.select_leads` returns them.
        products: Number of open products.
    """
    lead, product = np.nonzero(unpack(from_column(leads["eligible"]), products))
    return make_pair_table(leads["lead_row"].to_numpy()[lead], product)


def build_requirements(
    connection: duckdb.DuckDBPyConnection, rules: CompiledRules, day: date
) -> list[Requirement]:
    """Return every requirement of a pair, in the order of `STEPS`."""
    products = connection.sql("from products order by product_row").to_arrow_table()
    schema = connection.sql("from leads limit 0").to_arrow_table().schema
    kinds = {field.name: field.type for field in schema}
    by_institution = _products_by_institution(products)
    every = {policy.consent(day).every_institution: np.ones(products.num_rows, np.bool_)}
    ranges = {
        "amount": ("matched_amount", _ranges(products, "amount_min", "amount_max")),
        "term": (
            "term_months",
            _ranges(products, "term_min_months", "term_max_months", unknown=True),
        ),
        "risk_band": ("pd", _ranges(products, "pd_min", "pd_max", default=(0.0, 1.0))),
    }
    requirements: list[Requirement] = [
        index_list("consent", "consent_scope", by_institution | every),
        index_list("suppressed", "suppressed_institutions", by_institution, excludes=True),
        ProductCondition("cost_disclosure", pack(_states_costs(products))),
        index_prices(connection),
        *(
            index_attribute(
                name, name, pa.string(), [Bounds(one_of={v}) for v in products[name].to_pylist()]
            )
            for name in ("segment", "currency")
        ),
        *(
            index_attribute(step, attribute, pa.float64(), bounds)
            for step, (attribute, bounds) in ranges.items()
            if attribute in kinds
        ),
        *_index_own_rules(products, kinds, rules),
        *_exclude_earlier_offers(connection, products, day),
    ]
    return sorted(requirements, key=lambda requirement: STEPS.index(requirement.step))


def read_lead_batches(
    connection: duckdb.DuckDBPyConnection,
    requirements: Sequence[Requirement],
    leads: str = "leads",
) -> Iterator[pa.Table]:
    """Yield the columns that requirements read, in batches of leads ordered by `lead_row`.

    Args:
        connection: With the leads.
        requirements: The requirements to evaluate.
        leads: Table of the leads to read.
    """
    names = {requirement.attribute for requirement in requirements} - {""}
    columns = ", ".join(f'"{name}"' for name in sorted(names | ALWAYS_READ))
    reader = connection.sql(f"select {columns} from {leads} order by lead_row")
    for batch in reader.to_arrow_reader(LEADS_PER_BATCH):
        yield pa.Table.from_batches([batch])


def make_pair_table(lead: IntArray, product: IntArray) -> pa.Table:
    """Return pairs as the table that features are loaded for (`lead_row`, `product_row`)."""
    return pa.table(
        {"lead_row": pa.array(lead, pa.int32()), "product_row": pa.array(product, pa.int32())}
    )


def _products_by_institution(products: pa.Table) -> dict[str, BoolArray]:
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
    """Return the bounds of each product between two of its columns."""
    ends = (
        [fallback if end is None else float(end) for end in products[name].to_pylist()]
        for name, fallback in zip((low, high), default, strict=True)
    )
    return [
        Bounds(at_least=least, at_most=most, or_unknown=unknown)
        for least, most in zip(*ends, strict=True)
    ]


def _states_costs(products: pa.Table) -> BoolArray:
    """Return which products state the costs that the law asks for."""
    return np.asarray(products["states_costs"].to_numpy(zero_copy_only=False), np.bool_)


def _index_own_rules(
    products: pa.Table, kinds: dict[str, pa.DataType], rules: CompiledRules
) -> Iterator[Requirement]:
    """Yield an index for each attribute that the products' own rules name."""
    ids = (products[name].to_pylist() for name in ("institution_id", "product_id"))
    keys = list(zip(*ids, strict=True))
    for attribute, by_product in rules.bounds.items():
        bounds = [by_product.get(key) for key in keys]
        if any(bounds):
            yield index_attribute("rules", attribute, kinds[attribute], bounds)


def _exclude_earlier_offers(
    connection: duckdb.DuckDBPyConnection, products: pa.Table, day: date
) -> Iterator[Requirement]:
    """Yield the exclusions by earlier offers to the same person (`expectations/policy/pairs.yml`).

    Contact frequency: not the same product again within some days. Exclusivity: no other
    institution for some days after a match with an institution that was promised it.
    """
    rules = policy.pairs()
    repeated = run_query(
        connection,
        SQL / "repeated_offers.sql",
        {"days": rules.same_product_again_days, "day": day},
    ).fetchnumpy()
    product = np.asarray(repeated["product_row"], np.int64)
    single_products = pack(np.eye(products.num_rows, dtype=np.bool_))
    yield LeadExclusions(
        "contact_frequency", np.asarray(repeated["lead_row"], np.int64), single_products[product]
    )
    owner = np.asarray(products["institution_id"].to_pylist(), np.str_)
    for promise in rules.exclusive:
        leads = run_query(
            connection,
            SQL / "exclusive_leads.sql",
            {"institution": promise.institution_id, "days": promise.days, "day": day},
        ).fetchnumpy()["lead_row"]
        rivals = pack(owner != promise.institution_id)
        yield LeadExclusions(
            "exclusive", np.asarray(leads, np.int64), np.tile(rivals, (len(leads), 1))
        )
