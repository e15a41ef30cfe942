"""Delivery to one institution: write its lead file, audit the bytes, publish the next version."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from expectations.contracts import LINEAGE, load
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, restore, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.consent_audit import find_violations

PLATFORM_COLUMNS = ("match_id", "product_id", "rank", "suggested_apr")
"""Columns that every lead file begins with."""

INTERNAL_COLUMNS = frozenset(column.name for column in LINEAGE)
LEAD_COLUMNS = {column.name: column for column in load("leads").lake_columns}

PRICE_FIELDS = ("prices", "prices_currency", "prices_note", "floors_short")
"""Price feedback in a manifest; a receiver may ignore it."""

Facts = dict[str, Any]


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
        return [
            name
            for name, column in LEAD_COLUMNS.items()
            if name in self.fields and name not in INTERNAL_COLUMNS and not column.protected
        ]

    @property
    def withheld(self) -> list[str]:
        """Requested columns that it does not receive: unknown, protected or internal."""
        return sorted(set(self.fields) - set(self.columns))


@dataclass(frozen=True)
class DeliveryResult:
    """Outcome of one institution's delivery."""

    outcome: Literal["delivered", "unchanged", "held_back", "refused"]
    rows: int
    message: str = ""
    """What an operator must know or do; empty if nothing."""


@dataclass(frozen=True)
class DayDeliveries:
    """The deliveries of one day, institution by institution."""

    settings: Settings
    day: date
    connection: duckdb.DuckDBPyConnection
    """With the tables `matches`, `lake_leads` and `suppression_orders`."""
    read_from: dict[str, str]
    """Inputs as the manifests state them."""
    price_feedback: Mapping[str, Facts] = field(default_factory=dict)
    """Institution -> `PRICE_FIELDS` of its own products, and of no other's."""

    def deliver(self, recipient: Recipient) -> DeliveryResult:
        """Publish the recipient's file unless it is unchanged, must wait or must not be sent."""
        folder = self._folder(recipient.institution_id)
        restore(folder)
        leads = self._load_leads(recipient)
        if recipient.public_key is not None:
            return self._hold_back(recipient, folder, leads.num_rows)
        with _scratch_folder(folder) as scratch:
            file = scratch / f"leads.{recipient.format}"
            lead_file.write(leads, file)
            versions = _read_versions(folder)
            is_same = versions[-1]["sha256"] == sha256(file) if versions else not leads.num_rows
            if is_same:
                self._update_prices(recipient, folder)
                return DeliveryResult("unchanged", leads.num_rows)
            if violations := self._describe_violations(recipient, file, leads.num_rows):
                message = f"{recipient.institution_id}: {violations}"
                return DeliveryResult("refused", leads.num_rows, message)
            self._publish(recipient, folder, file, leads.num_rows)
        return DeliveryResult("delivered", leads.num_rows, self._describe_transport(recipient))

    def former_recipient(self, institution_id: str) -> Recipient:
        """Return how an institution was delivered to before it lost its last product."""
        manifest = read_manifest(self._folder(institution_id))
        return Recipient(
            institution_id,
            manifest["format"],
            manifest["delivery"],
            tuple(manifest["columns"]),
            public_key=None,
        )

    def _folder(self, institution_id: str) -> Path:
        return self.settings.day_folder(self.settings.outbox, self.day) / institution_id

    def _load_leads(self, recipient: Recipient) -> pa.Table:
        """Return the rows of the recipient's file."""
        columns = [f"matches.{name}" for name in PLATFORM_COLUMNS]
        columns += [f"lake_leads.{name}" for name in recipient.columns]
        return self.connection.sql(
            f"""
            select {", ".join(columns)}
            from matches left join lake_leads using (channel_id, lead_id)
            where institution_id = $institution
            order by product_id, rank, match_id
            """,
            params={"institution": recipient.institution_id},
        ).to_arrow_table()

    def _describe_violations(self, recipient: Recipient, file: Path, rows: int) -> str:
        """Return the violations of the written file as a sentence; empty if there are none."""
        delivered = lead_file.read(file)
        if delivered.num_rows != rows:
            return f"{rows:,} rows were written but {delivered.num_rows:,} read back"
        violations = find_violations(
            self.connection, delivered, recipient.institution_id, self.settings, self.day
        )
        return ", ".join(f"{count:,} rows {kind}" for kind, count in violations.items())

    def _describe_transport(self, recipient: Recipient) -> str:
        if recipient.delivery == "folder":
            return ""
        return (
            f"{recipient.institution_id} is delivered to by {recipient.delivery}, which isn't "
            f"built yet: its file waits in outbox/date={self.day}/{recipient.institution_id}."
        )

    def _update_prices(self, recipient: Recipient, folder: Path) -> None:
        """Rewrite the manifest if only the price feedback changed; no new version."""
        if not (folder / MANIFEST).is_file():
            return
        manifest = read_manifest(folder)
        facts = {name: manifest[name] for name in ("version", "rows", "deliveries")}
        facts |= self._facts(recipient)
        if any(manifest.get(name) != facts.get(name) for name in PRICE_FIELDS):
            with publishing(folder, facts) as new_folder:
                _copy_versions(folder, new_folder)

    def _publish(self, recipient: Recipient, folder: Path, file: Path, rows: int) -> None:
        versions = _read_versions(folder)
        number = len(versions) + 1
        name = file.name if number == 1 else f"leads.v{number}.{recipient.format}"
        version = {"version": number, "file": name, "rows": rows, "sha256": sha256(file)}
        facts = self._facts(recipient) | {
            "version": number,
            "rows": rows,
            "deliveries": [*versions, version],
        }
        with publishing(folder, facts) as new_folder:
            _copy_versions(folder, new_folder)
            shutil.move(file, new_folder / name)

    def _hold_back(self, recipient: Recipient, folder: Path, rows: int) -> DeliveryResult:
        """Write a manifest with the reason why there is no file; earlier versions stay."""
        message = (
            f"{recipient.institution_id} has a public key, so its leads must not go out "
            f"unencrypted, and encryption isn't built yet: {rows:,} leads were held back. They "
            f"are in matches/date={self.day}."
        )
        versions = _read_versions(folder)
        facts = self._facts(recipient) | {
            "version": len(versions),
            "rows": 0,
            "deliveries": versions,
            "held_back": rows,
            "message": message,
        }
        with publishing(folder, facts) as new_folder:
            _copy_versions(folder, new_folder)
        return DeliveryResult("held_back", rows, message)

    def _facts(self, recipient: Recipient) -> Facts:
        return {
            "institution_id": recipient.institution_id,
            "date": f"{self.day}",
            "format": recipient.format,
            "delivery": recipient.delivery,
            "columns": recipient.columns,
            "withheld_fields": recipient.withheld,
            "inputs": self.read_from,
            **self.price_feedback.get(recipient.institution_id, {}),
        }


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, cleared of what a killed run left in it."""
    scratch = folder.with_name(f".{folder.name}.scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read_versions(folder: Path) -> list[Facts]:
    """Return the delivered versions, oldest first: version, file, rows and hash."""
    if not (folder / MANIFEST).is_file():
        return []
    versions: list[Facts] = read_manifest(folder)["deliveries"]
    return versions


def _copy_versions(folder: Path, new_folder: Path) -> None:
    """Copy the files of the delivered versions."""
    for version in _read_versions(folder):
        shutil.copyfile(folder / version["file"], new_folder / version["file"])
