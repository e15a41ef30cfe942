"""Deliveries to institutions: write their files, pass the last gate, publish the next versions.

A query costs more than the rows of one file. So the rows of all institutions are judged and loaded
together, and the gate checks all files together; each file is published by itself.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.outbound_contracts import load_outbound
from pipelines.core.home.schema_version import REPLAY, read_replay
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, restore, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.delivered_matches import read_version_ids, write_sealed_ids
from pipelines.deliveries.going_live import (
    GOING_LIVE,
    TestAnswers,
    describe_open_test,
    find_open_test,
)
from pipelines.deliveries.last_gate.gate import LastGate, Violation
from pipelines.deliveries.last_gate.outgoing_file import OutgoingFile
from pipelines.deliveries.ledger.delivery_versions import (
    FOLDER,
    NOTHING,
    describe_nothing,
    name_delivery,
)
from pipelines.deliveries.present_knowledge import Holds, find_ended, judge_rows
from pipelines.deliveries.recipient import (
    DELIVERABLE_COLUMNS,
    PLATFORM_COLUMNS,
    Recipient,
    read_recipient,
)
from pipelines.deliveries.retraction_list import LISTS, add_list, read_lists
from pipelines.deliveries.sealing import KeyUnusable, read_key, seal_to

CONTRACT, MANIFEST_CONTRACT = load_outbound("lead_file"), load_outbound("delivery_manifest")

VERSION_STATED_SINCE = 3
"""The version of the contract from which on a lead file has its version in it."""

PRICE_FIELDS = ("prices", "prices_currency", "prices_note", "floors_short")
"""Price feedback in a manifest; a receiver may ignore it."""

STATE_FIELDS = ("state", "rows", "held_back", "held_reasons", "retracted", "findings")
"""What a manifest states of rows sent, held back and retracted."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class DeliveryResult:
    """Outcome of one institution's delivery."""

    outcome: Literal["delivered", "unchanged", "held_back"]
    rows: int
    message: str = ""
    """What an operator must know or do; empty if nothing."""


@dataclass(frozen=True)
class JudgedRows:
    """Matches of one institution that must not be sent now."""

    reasons: dict[str, int]
    """Reason -> number of rows."""

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(self.reasons.values())

    @property
    def findings(self) -> list[Facts]:
        """Return the finding on the rows; none if there are none."""
        if not self.reasons:
            return []
        return [{"id": "delivery_rows_held", "count": self.rows, "sources": list(self.reasons)}]


@dataclass(frozen=True)
class Hold:
    """Why an institution gets no file."""

    reason: str
    message: str
    findings: list[Facts]


@dataclass(frozen=True)
class Draft:
    """The rows of a recipient's next file."""

    recipient: Recipient
    leads: pa.Table
    judged: JudgedRows
    delivered_ids: list[str]
    """Match ids that it has by its newest file."""

    @property
    def name(self) -> str:
        """Return the institution."""
        return self.recipient.institution_id

    @property
    def matches(self) -> int:
        """Return the number of matches, the ones that must not be sent included."""
        return int(self.leads.num_rows) + self.judged.rows

    @cached_property
    def retracted(self) -> list[str]:
        """Return the match ids that the file takes back."""
        return sorted(set(self.delivered_ids) - set(self.leads["match_id"].to_pylist()))


@dataclass(frozen=True)
class DayDeliveries:
    """The deliveries of one day."""

    settings: Settings
    day: date
    as_of: date
    """The date up to which orders, withdrawals, ends, pauses and caps are known."""
    connection: duckdb.DuckDBPyConnection
    """With the tables of `deliver.load_delivery_tables`."""
    gate: LastGate
    read_from: dict[str, str]
    """Inputs as the manifests state them."""
    holds: Holds = field(default_factory=list)
    """Unreadable orders that hold deliveries."""
    price_feedback: Mapping[str, Facts] = field(default_factory=dict)
    """Institution -> `PRICE_FIELDS` of its own products, and of no other's."""

    @cached_property
    def answers(self) -> TestAnswers:
        """The receipts of test deliveries that are known."""
        return TestAnswers(self.settings, self.as_of)

    def deliver(self, recipients: Sequence[Recipient]) -> list[DeliveryResult]:
        """Publish each recipient's file unless it is unchanged, must wait or must not be sent."""
        drafts = self._draft_files(recipients)
        with ExitStack() as scratch:
            written = [
                self._write(draft, scratch.enter_context(self._scratch_folder(draft.name)))
                for draft in drafts
            ]
            violations = self.gate.check_outgoing(
                [
                    OutgoingFile(draft.name, file, draft.leads.num_rows, draft.delivered_ids)
                    for draft, file in zip(drafts, written, strict=True)
                    if isinstance(file, Path)
                ]
            )
            return [
                self._publish(draft, file, violations[draft.name])
                if isinstance(file, Path)
                else file
                for draft, file in zip(drafts, written, strict=True)
            ]

    def _draft_files(self, recipients: Sequence[Recipient]) -> list[Draft]:
        """Return the rows of each recipient's next file, after what present knowledge excludes."""
        delivered_ids = {}
        for recipient in recipients:
            folder = self._folder(recipient.institution_id)
            restore(folder)
            delivered_ids[folder.name] = read_delivered_ids(folder)
        judged = self._judge_rows(delivered_ids)
        leads = self._load_leads(recipients)
        return [
            Draft(recipient, leads[name], JudgedRows(judged.get(name, {})), delivered_ids[name])
            for recipient in recipients
            for name in [recipient.institution_id]
        ]

    def _write(self, draft: Draft, scratch: Path) -> Path | DeliveryResult:
        """Return the written file that the last gate must check, or why none leaves."""
        recipient, leads, matches = draft.recipient, draft.leads, draft.matches
        folder = self._folder(draft.name)
        if hold := self._find_hold(recipient, matches):
            return self._hold_back(recipient, folder, matches, hold, draft.retracted)
        file = scratch / f"leads.{recipient.format}"
        _write_form(leads, file, CONTRACT.schema_version, bom=recipient.csv_bom)
        versions = _read_versions(folder)
        is_same = _is_same(versions, file, leads, bom=recipient.csv_bom)
        is_same = is_same and not _was_taken_back(folder, leads)
        if hold := self._find_hold_of_file(
            recipient, draft.judged, matches, versions, is_same=is_same
        ):
            return self._hold_back(recipient, folder, matches, hold, draft.retracted)
        if is_same:
            self._update_facts(recipient, folder, leads.num_rows, draft.judged)
            return DeliveryResult("unchanged", leads.num_rows)
        return file

    def _publish(self, draft: Draft, file: Path, violations: Sequence[Violation]) -> DeliveryResult:
        """Publish a written file, unless the last gate stops it or it can't be sealed."""
        recipient, judged, matches = draft.recipient, draft.judged, draft.matches
        folder = self._folder(draft.name)
        if violations:
            hold = self._hold_for_violations(draft, violations)
            return self._hold_back(recipient, folder, matches, hold, draft.retracted)
        try:
            self._seal_and_publish(recipient, folder, file, draft.leads, judged, draft.retracted)
        except KeyUnusable as error:
            hold = self._hold_for_key(recipient, error, matches)
            return self._hold_back(recipient, folder, matches, hold, draft.retracted)
        message = self._describe_held_rows(recipient, judged, matches)
        return DeliveryResult("delivered", draft.leads.num_rows, message)

    def _find_hold(self, recipient: Recipient, matches: int) -> Hold | None:
        """Return why the recipient gets no file at all."""
        holds = [
            hold
            for hold in self.holds
            if hold["institution_id"] in {None, recipient.institution_id}
        ]
        if holds:
            sources = sorted({f"{hold['source']}" for hold in holds})
            folders = sorted({f"landing/{hold['source']}/{hold['landed_on']}" for hold in holds})
            finding = {
                "id": "delivery_held",
                "count": matches,
                "sources": sources,
                "detail": f"not readable: {', '.join(folders)}",
            }
            message = self._describe_unreadable_orders(recipient, folders, matches)
            return Hold("unreadable_orders", message, [finding])
        if recipient.public_key is not None:
            try:
                read_key(self.settings, recipient.public_key, self._key_moment)
            except KeyUnusable as error:
                return self._hold_for_key(recipient, error, matches)
        return None

    def _hold_for_key(self, recipient: Recipient, error: KeyUnusable, matches: int) -> Hold:
        message = (
            f"{recipient.institution_id}: {matches:,} leads were held back, because its public key "
            f"can't be used: {error}. Nothing is sent to it unencrypted. Ask the institution for a "
            "new key, let the platform list it as `public_key`, and deliver the day again. "
            f"The leads are in matches/date={self.day}."
        )
        return Hold(error.reason, message, [])

    @cached_property
    def _ended(self) -> set[str]:
        return find_ended(self.connection)

    @property
    def _key_moment(self) -> datetime:
        """Return when keys must be valid: now; of a replay, when its day was over."""
        if (self.settings.ledger / REPLAY).is_file():
            return self.settings.day_start(self.as_of + timedelta(days=1))
        return datetime.now(UTC)

    def _find_hold_of_file(
        self,
        recipient: Recipient,
        judged: JudgedRows,
        matches: int,
        versions: list[Facts],
        *,
        is_same: bool,
    ) -> Hold | None:
        """Return why a written file must not be published, by what is known now."""
        if is_same and not versions and judged.rows:
            message = self._describe_held_rows(recipient, judged, matches)
            return Hold("present_knowledge", message, judged.findings)
        if is_same:
            return None
        if recipient.institution_id in self._ended:
            message = (
                f"{recipient.institution_id} is not admitted any more, so no personal data goes to "
                f"it: {matches:,} leads were held back. The matches that it must delete are "
                "listed under `retracted`; inform it."
            )
            finding = {"id": "delivery_rows_held", "count": matches, "sources": ["not_admitted"]}
            return Hold("not_admitted", message, [finding])
        return self._find_going_live_hold(recipient)

    def _find_going_live_hold(self, recipient: Recipient) -> Hold | None:
        """Return the hold of a file that its institution would fetch before it is live."""
        name = recipient.institution_id
        if (self.settings.ledger / REPLAY).is_file():  # a replay asks nobody
            message = read_replay(self.settings).get(GOING_LIVE, {}).get(name)
        elif recipient.delivery == FOLDER:
            test = find_open_test(self.settings, self.day, recipient, self.answers)
            message = describe_open_test(recipient, test) if test else None
        else:
            message = None  # the step `send` asks, because it knows the address
        if message is None:
            return None
        finding = {"id": "delivery_not_live", "count": 1, "sources": [name]}
        return Hold(GOING_LIVE, message, [finding])

    def former_recipient(self, institution_id: str) -> Recipient:
        """Return how an institution was delivered to before it lost its last product."""
        return read_recipient(read_manifest(self._folder(institution_id)))

    @contextmanager
    def _scratch_folder(self, institution_id: str) -> Iterator[Path]:
        """Yield an empty folder outside the outbox: the plain text of a sealed file is in it."""
        folder = self._folder(institution_id)
        shutil.rmtree(folder.with_name(f".{folder.name}.scratch"), ignore_errors=True)
        scratch = self.settings.home / "work" / "deliver" / f"date={self.day}" / institution_id
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _folder(self, institution_id: str) -> Path:
        return self.settings.day_folder(self.settings.outbox, self.day) / institution_id

    def _judge_rows(self, delivered_ids: Mapping[str, list[str]]) -> dict[str, dict[str, int]]:
        """Create `held_rows`, the matches that must not be sent now.

        Returns:
            Institution -> reason -> number of rows.
        """
        held = judge_rows(self.connection, delivered_ids, self.settings, self.as_of)
        held = _add_rows(held, self.gate.find_rows_closed_since())
        self.connection.register("held_rows", held)
        counts = held.group_by(["institution_id", "reason"]).aggregate([([], "count_all")])
        judged: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for row in counts.sort_by("reason").to_pylist():
            judged[row["institution_id"]][row["reason"]] = row["count_all"]
        return judged

    def _load_leads(self, recipients: Sequence[Recipient]) -> dict[str, pa.Table]:
        """Return the rows of each recipient's file, by institution."""
        received = {name for recipient in recipients for name in recipient.columns}
        columns = [f"matches.{name}" for name in ("institution_id", *PLATFORM_COLUMNS)]
        columns += [f"lake_leads.{name}" for name in DELIVERABLE_COLUMNS if name in received]
        rows = self.connection.sql(
            f"""
            select {", ".join(columns)}
            from matches
            left join lake_leads using (channel_id, lead_id)
            anti join held_rows using (institution_id, match_id)
            order by matches.institution_id, product_id, rank, match_id
            """
        ).to_arrow_table()
        slices = _slice_by_value(rows, "institution_id")
        return {
            recipient.institution_id: slices.get(recipient.institution_id, rows.slice(0, 0)).select(
                [*PLATFORM_COLUMNS, *recipient.columns]
            )
            for recipient in recipients
        }

    def _hold_for_violations(self, draft: Draft, violations: Sequence[Violation]) -> Hold:
        """Return why the last gate stops a written file."""
        name, rows = draft.name, draft.leads.num_rows
        kinds = ", ".join(map(str, violations))
        finding = {
            "id": "delivery_stopped",
            "count": sum(violation.rows for violation in violations),
            "sources": [name],
            "detail": f"{name}: {kinds}",
        }
        message = (
            f"{name}: the last gate stopped the lead file of {rows:,} rows; nothing was sent. "
            f"Violations by kind, in rows: {kinds}. The matching let through what the sources "
            f"forbid: compare matches/date={self.day} with the lake, match and deliver again."
        )
        return Hold("last_gate", message, [finding])

    def _describe_held_rows(self, recipient: Recipient, judged: JudgedRows, matches: int) -> str:
        if not judged.rows:
            return ""
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in judged.reasons.items())
        return (
            f"{recipient.institution_id}: {judged.rows:,} of {matches:,} leads were held back by "
            f"what is known on {self.as_of}: {reasons}."
        )

    def _describe_unreadable_orders(
        self, recipient: Recipient, folders: list[str], matches: int
    ) -> str:
        return (
            f"{recipient.institution_id}: {matches:,} leads were held back, because orders not to "
            f"send people could not be read: {', '.join(folders)}. People who objected may be "
            "among the leads. Get a readable list and put it in the same folder under the same "
            "name, then run the date again; quarantine/ has the reason. The leads are in "
            f"matches/date={self.day}."
        )

    def _update_facts(
        self, recipient: Recipient, folder: Path, rows: int, judged: JudgedRows
    ) -> None:
        """Rewrite the manifest if prices or rows held back changed, but no row of the file."""
        if not (folder / MANIFEST).is_file():
            return
        manifest = read_manifest(folder)
        versions = manifest["deliveries"]
        facts = self._state_facts(recipient, versions, rows, judged)
        if any(manifest.get(name) != facts.get(name) for name in (*PRICE_FIELDS, *STATE_FIELDS)):
            with publishing(folder, facts) as new_folder:
                _copy_versions(folder, new_folder)

    def _seal_and_publish(
        self,
        recipient: Recipient,
        folder: Path,
        file: Path,
        leads: pa.Table,
        judged: JudgedRows,
        retracted: list[str],
    ) -> None:
        """Publish the written and audited file as the next version, encrypted if it has a key."""
        versions = _read_versions(folder)
        number = len(versions) + 1
        name = file.name if number == 1 else f"leads.v{number}.{recipient.format}"
        file, sealing = seal_to(
            self.settings, file.rename(file.with_name(name)), recipient.public_key, self._key_moment
        )
        version = sealing | {
            "version": number,
            "rows": leads.num_rows,
            "schema_version": CONTRACT.schema_version,
            "judged_as_of": f"{self.as_of}",
            "retracted": retracted,
        }
        if "sealed_with" in version:
            write_sealed_ids(folder, version, leads["match_id"].to_pylist())
        facts = self._state_facts(recipient, [*versions, version], leads.num_rows, judged)
        with publishing(folder, facts) as new_folder:
            _copy_versions(folder, new_folder)
            folders = file.parent, new_folder
            add_list(self.settings, recipient, facts, number - 1, folders, self._key_moment)
            shutil.move(file, new_folder / version["file"])

    def _state_facts(
        self, recipient: Recipient, versions: list[Facts], rows: int, judged: JudgedRows
    ) -> Facts:
        """Return the manifest of a delivery whose newest file is in force."""
        retracted = versions[-1].get("retracted", []) if versions else []
        findings = list(judged.findings)
        if len(versions) > 1:
            findings.append(
                {
                    "id": "delivery_corrected",
                    "count": len(retracted),
                    "sources": [recipient.institution_id],
                }
            )
        return self._facts(recipient) | {
            "state": "delivered" if versions else NOTHING,
            "version": len(versions),
            "rows": rows,
            "deliveries": versions,
            "retracted": retracted,
            "held_back": judged.rows,
            "held_reasons": judged.reasons,
            "message": self._describe_held_rows(recipient, judged, rows + judged.rows)
            if versions
            else describe_nothing(self.day),
            "findings": findings,
        }

    def _hold_back(
        self, recipient: Recipient, folder: Path, rows: int, hold: Hold, retracted: list[str]
    ) -> DeliveryResult:
        """Write a manifest with the reason why there is no file; earlier versions stay."""
        versions = _read_versions(folder)
        facts = self._facts(recipient) | {
            "state": "held",
            "version": len(versions),
            "rows": 0,
            "deliveries": versions,
            "retracted": retracted,
            "held_back": rows,
            "held_reasons": {hold.reason: rows} if rows else {},
            "message": hold.message,
            "findings": hold.findings,
        }
        with (
            self._scratch_folder(recipient.institution_id) as scratch,
            publishing(folder, facts) as new_folder,
            suppress(KeyUnusable),  # the list follows with the correction, once the key is usable
        ):
            _copy_versions(folder, new_folder)
            folders = scratch, new_folder
            add_list(self.settings, recipient, facts, len(versions), folders, self._key_moment)
        return DeliveryResult("held_back", rows, hold.message)

    def _facts(self, recipient: Recipient) -> Facts:
        key = {} if recipient.public_key is None else {"public_key": recipient.public_key}
        lists = read_lists(self._folder(recipient.institution_id))
        return key | {
            "institution_id": recipient.institution_id,
            "date": f"{self.day}",
            "delivery_id": name_delivery(self.day, recipient.institution_id),
            "schema_version": MANIFEST_CONTRACT.schema_version,
            "format": recipient.format,
            "delivery": recipient.delivery,
            "columns": recipient.columns,
            "withheld_fields": recipient.withheld,
            "inputs": self.read_from,
            "judged_as_of": f"{self.as_of}",
            **({LISTS: lists} if lists else {}),
            **self.price_feedback.get(recipient.institution_id, {}),
        }


def _slice_by_value(rows: pa.Table, column: str) -> dict[str, pa.Table]:
    """Return the rows of each value of a column by which they are sorted, without copying them."""
    slices, first = {}, 0
    for group in rows[column].value_counts().to_pylist():
        slices[group["values"]] = rows.slice(first, group["counts"])
        first += group["counts"]
    return slices


def _add_rows(held: pa.Table, closed_since: pa.Table) -> pa.Table:
    """Return the matches of both tables, each once with the reason of the first."""
    is_new = pc.invert(pc.is_in(closed_since["match_id"], value_set=held["match_id"]))
    return pa.concat_tables([held, closed_since.filter(is_new).cast(held.schema)])


def _write_form(leads: pa.Table, file: Path, schema_version: int, *, bom: bool) -> None:
    """Write a lead file in the form of a version of its contract."""
    if schema_version == 1:
        lead_file.write(leads, file, time_unit="us")
    else:
        stated = schema_version if schema_version >= VERSION_STATED_SINCE else None
        lead_file.write(leads, file, schema_version=stated, bom=bom)


def _is_same(versions: list[Facts], file: Path, leads: pa.Table, *, bom: bool) -> bool:
    """Return whether the newest version has the content of `file`, however it was sealed."""
    if not versions:
        return not leads.num_rows
    newest = versions[-1]
    schema_version = newest.get("schema_version", 1)
    if schema_version != CONTRACT.schema_version:
        file = file.with_name(f"earlier_form{file.suffix}")
        _write_form(leads, file, schema_version, bom=bom)
    return bool(newest.get("content_sha256", newest["sha256"]) == sha256(file))


def _was_taken_back(folder: Path, leads: pa.Table) -> bool:
    """Return whether a retraction list since the newest file has any of these matches.

    Its receiver has deleted them, so the same rows go out again as a new version.
    """
    lists = read_lists(folder)
    if not lists:
        return False
    manifest = read_manifest(folder)
    if manifest["state"] != "held" or lists[-1]["lead_version"] < manifest["version"]:
        return False
    return not set(manifest["retracted"]).isdisjoint(leads["match_id"].to_pylist())


def _read_versions(folder: Path) -> list[Facts]:
    """Return the delivered versions, oldest first: version, file, rows and hash."""
    if not (folder / MANIFEST).is_file():
        return []
    versions: list[Facts] = read_manifest(folder)["deliveries"]
    return versions


def read_delivered_ids(folder: Path) -> list[str]:
    """Return the match ids of the newest file of a delivery; empty if there is none."""
    versions = _read_versions(folder)
    return read_version_ids(folder, versions[-1]) if versions else []


def _copy_versions(folder: Path, new_folder: Path) -> None:
    """Copy the published files with their times: what was known then is judged."""
    for version in (*_read_versions(folder), *read_lists(folder)):
        shutil.copy2(folder / version["file"], new_folder / version["file"])
