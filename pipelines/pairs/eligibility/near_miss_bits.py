"""Pairs that fail one requirement alone: what a hard rule costs its product.

A set of products is carried along for each lead: those that have failed nothing so far, and those
that have failed exactly one thing. After the last requirement the second set, met with what each
requirement excludes, says which products missed the lead by that requirement only.
"""

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.pairs.eligibility.bitsets import Words, packed
from pipelines.pairs.eligibility.engine import portions
from pipelines.pairs.eligibility.rule_index import Requirement


def nearly(
    connection: duckdb.DuckDBPyConnection,
    requirements: Sequence[Requirement],
    products: int,
    leads: str = "leads",
) -> Iterator[tuple[pa.Table, list[Words]]]:
    """Yield some leads at a time, and for each requirement the products missed by it alone.

    Args:
        connection: With the tables that `requirements` were made from.
        requirements: Everything that is asked of a pair.
        products: How many are open.
        leads: SQL table of the leads to look at.
    """
    every = packed(np.ones(products, np.bool_))
    for portion in portions(connection, requirements, leads):
        missed = [~requirement.admitted(portion) for requirement in requirements]
        yield portion, _missed_alone(missed, np.tile(every, (portion.num_rows, 1)))


def _missed_alone(missed: list[Words], every: Words) -> list[Words]:
    none, once = every, np.zeros_like(every)
    for excluded in missed:
        none, once = none & ~excluded, (once & ~excluded) | (none & excluded)
    return [once & excluded for excluded in missed]
