"""Who receives lead files, in which form, and which columns of a lead it may see."""

from dataclasses import dataclass

import duckdb

from expectations.contracts import LINEAGE, load

OURS = ("match_id", "product_id", "rank", "suggested_apr")
"""Columns that every lead file begins with."""

_INTERNAL = {column.name for column in LINEAGE}
LEAD_COLUMNS = {column.name: column for column in load("leads").lake_columns}


@dataclass(frozen=True)
class Recipient:
    """How one institution receives its leads."""

    institution_id: str
    format: str
    delivery: str
    fields: tuple[str, ...]
    """Columns of a lead that it asked to receive."""
    public_key: str | None

    @property
    def columns(self) -> list[str]:
        """Columns of a lead that it gets, in the order of the contract."""
        return [name for name in LEAD_COLUMNS if name in self.fields and _may_leave(name)]

    @property
    def withheld(self) -> list[str]:
        """Columns that it asked for in vain: unknown, protected or Banyan's own bookkeeping."""
        return sorted(set(self.fields) - set(self.columns))


def recipients(connection: duckdb.DuckDBPyConnection) -> dict[str, Recipient]:
    """Return every institution with a product in the catalogue, from table `mart_products`."""
    rows = connection.sql(
        """
        select distinct on (institution_id)
            institution_id, format, delivery, fields, public_key
        from mart_products
        where format is not null
        order by institution_id, product_id
        """
    ).fetchall()
    return {
        name: Recipient(name, file_format, delivery, tuple(fields or ()), key or None)
        for name, file_format, delivery, fields, key in rows
    }


def _may_leave(name: str) -> bool:
    return name not in _INTERNAL and not LEAD_COLUMNS[name].protected
