"""Price caps as requirements of a pair: on a product's lowest rate, on the whole cost of a loan.

The whole cost depends on amount and term. At one term it is within the cap from an amount on
(`find_least_amounts`), so each term that leads ask for has an index of the least amount of every
product. A lead that names no term is admitted if the cost is within the cap at every term that the
product lends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.core.arrays import BoolArray, FloatArray
from pipelines.core.database import query_table
from pipelines.pairs.eligibility.bitsets import Bitsets, pack
from pipelines.pairs.eligibility.rule_index import ProductCondition, Requirement, index_attribute
from pipelines.pairs.eligibility.rules import Bounds
from pipelines.pairs.financing_cost import Loans, find_least_amounts

SQL = Path(__file__).parent / "sql"
STEP = "price_cap"
ANY_TERM = 0
"""The key of leads that name no term."""


@dataclass(frozen=True)
class PriceIndex:
    """The products whose whole cost is within the cap, by term and amount."""

    by_term: Mapping[int, Requirement]
    """Months -> index of the amount; `ANY_TERM` of leads without a term."""
    step: str = STEP
    attribute: str = "matched_amount"

    def admit(self, leads: pa.Table) -> Bitsets:
        """Return the products that each lead can afford lawfully; it reads `term_months` too."""
        terms = leads["term_months"].fill_null(ANY_TERM).to_numpy()
        terms = np.where(leads["term_months"].is_valid().to_numpy(), np.maximum(1, terms), ANY_TERM)
        parts = [(term, np.flatnonzero(terms == term)) for term in np.unique(terms).tolist()]
        found = [(rows, self.by_term[term].admit(leads.take(rows))) for term, rows in parts]
        words = next(iter(self.by_term.values())).admit(leads.slice(0, 0)).shape[1]
        admitted = np.empty((leads.num_rows, words), np.uint64)
        for rows, bitsets in found:
            admitted[rows] = bitsets
        return admitted


def index_prices(connection: duckdb.DuckDBPyConnection) -> Requirement:
    """Return the price caps of all products as one requirement.

    Args:
        connection: With `leads` and `products`.
    """
    products = connection.sql(
        "select price_cap, apr_min, whole_cost_cap from products order by product_row"
    ).to_arrow_table()
    cap, lowest, whole = (
        np.asarray(products[name].cast(pa.float64()).to_numpy(), np.float64)
        for name in ("price_cap", "apr_min", "whole_cost_cap")
    )
    is_within = np.isnan(cap) | (lowest <= cap)
    if np.isnan(whole).all():
        return ProductCondition(STEP, pack(is_within))
    loans = query_table(connection, SQL / "loans_at_highest_rate.sql")
    by_term = _find_by_term(loans, is_within, ~np.isnan(whole))
    return PriceIndex({term: _index_amounts(amounts) for term, amounts in by_term.items()})


def _find_by_term(
    loans: pa.Table, is_within: BoolArray, is_limited: BoolArray
) -> dict[int, FloatArray]:
    """Return term -> least amount by product: 0 for any amount, infinite for none.

    Args:
        loans: One row for each product with a limit and each term.
        is_within: Whether the lowest rate of each product is within the cap.
        is_limited: Whether the whole cost of each product is limited.
    """
    limit = np.asarray(loans["whole_cost_cap"].to_numpy(), np.float64)
    found = find_least_amounts(Loans.of_table(loans), limit)
    product, months = (loans[name].to_numpy() for name in ("product_row", "months"))
    of_any = np.asarray(loans["is_any_term"].to_numpy(zero_copy_only=False), np.bool_)
    by_term = {}
    for term in {ANY_TERM, *np.unique(months[~of_any]).tolist()}:
        is_term = of_any if term == ANY_TERM else ~of_any & (months == term)
        least = np.where(is_limited, -np.inf, 0.0)
        np.maximum.at(least, product[is_term], found[is_term])
        by_term[int(term)] = np.where(is_within & (least >= 0), least, np.inf)
    return by_term


def _index_amounts(least: FloatArray) -> Requirement:
    bounds = [None if amount == 0 else Bounds(at_least=float(amount)) for amount in least]
    return index_attribute(STEP, "matched_amount", pa.float64(), bounds)
