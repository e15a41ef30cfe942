"""An institution as a recipient of leads: format, transport, columns and key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expectations import policy
from expectations.contracts import LINEAGE, load

PLATFORM_COLUMNS = ("match_id", "product_id", "rank", "suggested_apr")
"""Columns that every lead file begins with."""

INTERNAL_COLUMNS = frozenset(column.name for column in LINEAGE)
LEAD_COLUMNS = {column.name: column for column in load("leads").lake_columns}
DELIVERABLE_COLUMNS = tuple(
    name
    for name, column in LEAD_COLUMNS.items()
    if name not in INTERNAL_COLUMNS and not column.protected
)
"""Columns of a lead that an institution may receive, in the order of the contract."""


@dataclass(frozen=True)
class Recipient:
    """One institution as a recipient of leads: format, delivery and columns."""

    institution_id: str
    format: str
    delivery: str
    fields: tuple[str, ...]
    """Columns of a lead that it requests."""
    public_key: str | None

    @property
    def columns(self) -> list[str]:
        """Columns of a lead that it receives, in the order of the contract."""
        return [name for name in DELIVERABLE_COLUMNS if name in self.fields]

    @property
    def csv_bom(self) -> bool:
        """Whether its CSV begins with a byte order mark."""
        return policy.transport().agreement(self.institution_id).csv_bom

    @property
    def withheld(self) -> list[str]:
        """Requested columns that it does not receive: unknown, protected or internal."""
        return sorted(set(self.fields) - set(self.columns))


def read_recipient(manifest: Mapping[str, Any]) -> Recipient:
    """Return how an institution was delivered to, by the manifest of a delivery."""
    return Recipient(
        manifest["institution_id"],
        manifest["format"],
        manifest["delivery"],
        (*manifest["columns"], *manifest["withheld_fields"]),
        manifest.get("public_key"),
    )
