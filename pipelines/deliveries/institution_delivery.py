"""Serve one institution: write its lead file, judge the bytes, publish it as the next version."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from pipelines.core.publishing import MANIFEST, publishing, read_manifest, restore, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file as delivery_file
from pipelines.deliveries.consent_audit import violations
from pipelines.deliveries.price_feedback import TOLD, Facts
from pipelines.deliveries.recipients import OURS, Recipient


@dataclass(frozen=True)
class Result:
    """What became of one institution's delivery."""

    outcome: Literal["delivered", "unchanged", "held_back", "refused"]
    rows: int
    message: str = ""
    """What somebody must know or do; empty where all is well."""


@dataclass(frozen=True)
class Desk:
    """Where the deliveries of a day are made up."""

    settings: Settings
    day: date
    connection: duckdb.DuckDBPyConnection
    """With the tables `matches` and `lake_leads`."""
    read_from: dict[str, str]
    """What the manifests say of their inputs."""
    told: Mapping[str, Facts] = field(default_factory=dict)
    """Institution -> what its manifest says of prices: of its own products, and of no other's."""

    def serve(self, recipient: Recipient) -> Result:
        """Publish the recipient's file unless it stands already, must wait or must not go out."""
        folder = self._folder(recipient.institution_id)
        restore(folder)
        leads = self._leads(recipient)
        if recipient.public_key is not None:
            return self._hold_back(recipient, folder, leads.num_rows)
        with _scratch(folder) as scratch:
            file = scratch / f"leads.{recipient.format}"
            delivery_file.write(leads, file)
            before = _before(folder)
            is_same = before[-1]["sha256"] == sha256(file) if before else not leads.num_rows
            if is_same:
                self._tell(recipient, folder)
                return Result("unchanged", leads.num_rows)
            if wrong := self._wrong(recipient, file, leads.num_rows):
                return Result("refused", leads.num_rows, f"{recipient.institution_id}: {wrong}")
            self._publish(recipient, folder, file, leads.num_rows)
        return Result("delivered", leads.num_rows, self._still_to_do(recipient))

    def _still_to_do(self, recipient: Recipient) -> str:
        if recipient.delivery == "folder":
            return ""
        return (
            f"{recipient.institution_id} is delivered to by {recipient.delivery}, which isn't "
            f"built yet: its file waits in outbox/date={self.day}/{recipient.institution_id}."
        )

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

    def _leads(self, recipient: Recipient) -> pa.Table:
        ours = ", ".join(f"matches.{name}" for name in OURS)
        theirs = "".join(f", lake_leads.{name}" for name in recipient.columns)
        return self.connection.sql(
            f"""
            select {ours}{theirs}
            from matches left join lake_leads using (channel_id, lead_id)
            where institution_id = $institution
            order by product_id, rank, match_id
            """,
            params={"institution": recipient.institution_id},
        ).to_arrow_table()

    def _wrong(self, recipient: Recipient, file: Path, rows: int) -> str:
        """Return what is wrong with the written file, in words; empty if nothing is."""
        delivered = delivery_file.read(file)
        if delivered.num_rows != rows:
            return f"{rows:,} rows were written but {delivered.num_rows:,} read back"
        found = violations(
            self.connection, delivered, recipient.institution_id, self.settings, self.day
        )
        return ", ".join(f"{count:,} rows {kind}" for kind, count in found.items())

    def _tell(self, recipient: Recipient, folder: Path) -> None:
        """Write the manifest anew where the file stands but the prices don't; no new version."""
        if not (folder / MANIFEST).is_file():
            return
        said = read_manifest(folder)
        facts = {name: said[name] for name in ("version", "rows", "deliveries")}
        facts |= self._facts(recipient)
        if any(said.get(name) != facts.get(name) for name in TOLD):
            with publishing(folder, facts) as fresh:
                _keep(folder, fresh)

    def _publish(self, recipient: Recipient, folder: Path, file: Path, rows: int) -> None:
        before = _before(folder)
        version = len(before) + 1
        name = file.name if version == 1 else f"leads.v{version}.{recipient.format}"
        this = {"version": version, "file": name, "rows": rows, "sha256": sha256(file)}
        facts = self._facts(recipient) | {
            "version": version,
            "rows": rows,
            "deliveries": [*before, this],
        }
        with publishing(folder, facts) as fresh:
            _keep(folder, fresh)
            shutil.move(file, fresh / name)

    def _hold_back(self, recipient: Recipient, folder: Path, rows: int) -> Result:
        """Write a manifest that says why there is no file; files delivered before stay."""
        message = (
            f"{recipient.institution_id} has a public key, so its leads must not go out "
            f"unencrypted, and encryption isn't built yet: {rows:,} leads were held back. They "
            f"stand in matches/date={self.day}."
        )
        before = _before(folder)
        facts = self._facts(recipient) | {
            "version": len(before),
            "rows": 0,
            "deliveries": before,
            "held_back": rows,
            "message": message,
        }
        with publishing(folder, facts) as fresh:
            _keep(folder, fresh)
        return Result("held_back", rows, message)

    def _facts(self, recipient: Recipient) -> dict[str, Any]:
        return {
            "institution_id": recipient.institution_id,
            "date": f"{self.day}",
            "format": recipient.format,
            "delivery": recipient.delivery,
            "columns": recipient.columns,
            "withheld_fields": recipient.withheld,
            "inputs": self.read_from,
            **self.told.get(recipient.institution_id, {}),
        }


def _keep(folder: Path, fresh: Path) -> None:
    """Copy the files that were delivered before."""
    for delivery in _before(folder):
        shutil.copyfile(folder / delivery["file"], fresh / delivery["file"])


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield an empty place beside `folder`; what a killed run left there is gone first."""
    scratch = folder.with_name(f".{folder.name}.scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _before(folder: Path) -> list[dict[str, Any]]:
    """Return what was delivered before, oldest first: version, file, rows and hash."""
    if not (folder / MANIFEST).is_file():
        return []
    deliveries: list[dict[str, Any]] = read_manifest(folder)["deliveries"]
    return deliveries
