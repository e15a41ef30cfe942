"""What each limit of a day allowed, what was used of it, and what one unit more would add.

Prices are those that prove the plan. They hold to first order: for a few leads more or less, not
for twice as many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.allocation.allocate import Plan
from pipelines.core.arrays import FloatArray
from pipelines.matches.policy_limits import NAMES, Family

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        *NAMES,
        ("limit", pa.float64()),
        ("used", pa.float64()),
        ("short", pa.float64()),
        ("price", pa.float64()),
    ]
)
"""Columns of `prices.parquet`, one row by limit. `limit` and `used` in leads a day, of a budget in
the product's currency; `short`: leads by which a floor is missed; `price`: what one unit more of
the limit (of a floor: one unit less) would add, in the base currency."""


@dataclass(frozen=True)
class Told:
    """A family of limits with what the plan makes of it, by row."""

    family: Family
    used: FloatArray
    price: FloatArray

    @property
    def short(self) -> FloatArray:
        """Return by how many leads each floor is missed; 0 of what is no floor."""
        if not self.family.limit.is_floor:
            return np.zeros(len(self.used))
        return np.maximum(np.nan_to_num(self.family.stated) - self.used, 0)


def told_by(plan: Plan, family: Family) -> Told:
    """Return what `plan` makes of a family whose limits count leads."""
    limit = family.limit
    leads = np.bincount(limit.row[plan.rows], minlength=len(limit.upper) + 1)[: len(limit.upper)]
    return Told(family, leads.astype(np.float64), plan.limit_prices(limit))


def prices_table(told: Sequence[Told]) -> pa.Table:
    """Return the limits of the day (`SCHEMA`), those of a kind together."""
    parts = [SCHEMA.empty_table()]
    for each in told:
        columns = {
            "kind": pa.repeat(each.family.kind, len(each.used)),
            **{name: each.family.names[name] for name in NAMES.names},
            "limit": each.family.stated,
            "used": each.used,
            "short": each.short,
            "price": each.price + 0.0,
        }
        stated = pa.array(np.isfinite(each.family.stated))
        parts.append(pa.table(columns).cast(SCHEMA).filter(stated))
    return pa.concat_tables(parts).combine_chunks()


def short_floors(limits: pa.Table, least_shortfall: int) -> dict[str, Any]:
    """Return what a manifest says of floors that the plan misses; nothing where it keeps all.

    Args:
        limits: As `prices_table` returns it.
        least_shortfall: Leads by which no plan misses them less, in all.

    Returns:
        `floors_short`: each with whom it was promised to, `promised`, `kept` (the most it can be
        with the other limits as they are) and `short`; `least_shortfall`, as given.
    """
    short = limits.filter(pc.greater(limits["short"], 0))
    if not short.num_rows:
        return {}
    rows = [
        {name: row[name] for name in NAMES.names if row[name] is not None}
        | {"promised": int(row["limit"]), "kept": int(row["used"]), "short": int(row["short"])}
        for row in short.to_pylist()
    ]
    return {"floors_short": rows, "least_shortfall": least_shortfall}
