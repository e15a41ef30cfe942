"""Going live: a test delivery without any person comes before the first real file.

The institution acknowledges it by a receipt (feed `receipts`) that names its id and hash: then it
has read, decrypted and answered a file once. Another transport, host, host key, public key, format
or folder asks again. A refused test delivery is followed by the next one, with the next number.

`send` asks where files are uploaded, since it knows the address. Of an institution that fetches its
files from the outbox, a published file is a sent file: `deliver` asks and holds the real one.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from expectations import policy
from expectations.contracts import load
from expectations.outbound_contracts import load_outbound, make_sample
from pipelines.core.database import connect
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json
from pipelines.deliveries import lead_file
from pipelines.deliveries.ledger.delivery_versions import FOLDER, list_institutions
from pipelines.deliveries.recipient import Recipient, read_recipient
from pipelines.deliveries.sealing import seal_to
from pipelines.deliveries.signatures import (
    ALLOWED_SIGNERS,
    load_signing_key,
    publish_keys,
    sign_file,
)

CONTRACT, MANIFEST_CONTRACT = load_outbound("lead_file"), load_outbound("delivery_manifest")
GOING_LIVE = "going_live"
"""Folder of the test deliveries, and the reason of what waits for a receipt."""


@dataclass(frozen=True)
class TestDelivery:
    """One test delivery, in a folder of its own that is named by its number."""

    number: int
    delivery_id: str
    terms: str
    """Hash of what it tests: transport, address, host key, public key and format."""
    sha256: str
    """Hash of its lead file, which a receipt names."""
    sent_at: str = ""
    asked_on: str = ""
    """The business date of the delivery that waits for it."""


@dataclass(frozen=True)
class Place:
    """Where an institution's files go: the address without a user, and the pinned host key."""

    address: str = FOLDER
    host_key: str = ""


@dataclass(frozen=True)
class TestAnswers:
    """The receipts of all test deliveries, read from the lake once."""

    settings: Settings
    as_of: date | None = None
    """The last date of receipts that count; None: all."""

    def find(self, institution_id: str, test: TestDelivery) -> set[str]:
        """Return the states of the institution's own receipts for exactly this file."""
        return self._states.get((institution_id, test.delivery_id, test.sha256), set())

    @cached_property
    def _states(self) -> dict[tuple[str, str, str], set[str]]:
        """Institution, delivery and hash -> states."""
        last = f"date={self.as_of or date.max}"
        files = [
            str(file)
            for file in sorted((self.settings.lake / "receipts").glob("date=*/receipts.parquet"))
            if file.parent.name <= last
        ]
        states: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
        if files:
            with connect(self.settings) as connection:
                rows = (
                    connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
                    .filter("starts_with(delivery_id, 'test-')")
                    .project("institution_id, delivery_id, lower(sha256), status")
                    .fetchall()
                )
            for institution_id, delivery_id, sha256, status in rows:
                states[institution_id, delivery_id, sha256].add(status)
        return dict(states)


ADAPTER = TypeAdapter(tuple[TestDelivery, ...])


def find_open_test(
    settings: Settings,
    day: date,
    recipient: Recipient,
    answers: TestAnswers,
    place: Place = Place(),
) -> TestDelivery | None:
    """Return the test delivery that must be acknowledged first; None: the institution is live.

    A test delivery is made if there is none for the present terms, or if the last was refused.

    Args:
        settings: Settings of the home.
        day: The business date of the real delivery.
        recipient: The institution.
        answers: The receipts of test deliveries.
        place: Where its files go.

    Raises:
        KeyUnusable: The institution's public key can't be used.
        IntegrityError: The list of its test deliveries is damaged.
    """
    if not policy.transport().requires_test(recipient.institution_id, recipient.delivery):
        return None
    name, terms = recipient.institution_id, _hash_terms(recipient, place)
    tests = read_tests(settings, name)
    newest = next((test for test in reversed(tests) if test.terms == terms), None)
    states = answers.find(name, newest) if newest else set()
    if newest and "ack" in states:
        return None
    if newest is None or "nak" in states:
        newest = _make_test(settings, day, recipient, len(tests) + 1, terms)
        _write_tests(settings, name, [*tests, newest])
    return newest


def describe_open_test(recipient: Recipient, test: TestDelivery) -> str:
    """Return which receipt an institution's deliveries wait for."""
    name, is_fetched = recipient.institution_id, recipient.delivery == FOLDER
    place = f" (outbox/{GOING_LIVE}/{name}/{test.number})" if is_fetched else ""
    return (
        f"{name} must acknowledge the test delivery {test.delivery_id}{place} first; it has host, "
        f"key and format of the real ones. Its receipt names the SHA-256 {test.sha256}"
    )


def find_released(settings: Settings, days: Sequence[date]) -> Iterator[tuple[date, list[str]]]:
    """Yield the dates of which a delivery was held that may go now, with the institutions."""
    answers = TestAnswers(settings)
    for day in days:
        held = []
        for name in list_institutions(settings, day):
            manifest = read_manifest(settings.day_folder(settings.outbox, day) / name)
            if GOING_LIVE in manifest.get("held_reasons", {}):
                held.append(read_recipient(manifest))
        live = [each for each in held if not find_open_test(settings, day, each, answers)]
        if live:
            yield day, [each.institution_id for each in live]


def list_recent(day: date, back: int) -> list[date]:
    """Return `back` dates before `day`, and `day`."""
    return [day - timedelta(days=number) for number in range(back, -1, -1)]


def read_tests(settings: Settings, institution_id: str) -> tuple[TestDelivery, ...]:
    """Return the test deliveries of an institution, oldest first."""
    path = _tests_file(settings, institution_id)
    if not path.is_file():
        return ()
    try:
        return ADAPTER.validate_python(read_json(path).get("tests"))
    except ValidationError:
        raise IntegrityError(describe_damage(path, "it is no list of test deliveries")) from None


def list_tests(settings: Settings, day: date) -> Iterator[tuple[str, TestDelivery]]:
    """Yield the institutions that were asked on `day`, each with its test delivery."""
    for path in sorted((settings.transport / GOING_LIVE).glob("[!.]*.json")):
        for test in read_tests(settings, path.stem):
            if test.asked_on == f"{day}":
                yield path.stem, test


def mark_test_sent(settings: Settings, institution_id: str, test: TestDelivery) -> None:
    """Record that a test delivery has arrived."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    tests = [
        replace(each, sent_at=at) if each.number == test.number else each
        for each in read_tests(settings, institution_id)
    ]
    _write_tests(settings, institution_id, tests)


def test_folder(settings: Settings, recipient: Recipient, number: int) -> Path:
    """Return the folder with the files of a test delivery; the outbox, if they are fetched."""
    root = settings.outbox if recipient.delivery == FOLDER else settings.transport
    return root / GOING_LIVE / recipient.institution_id / f"{number}"


def _make_test(
    settings: Settings, day: date, recipient: Recipient, number: int, terms: str
) -> TestDelivery:
    """Publish a test delivery: one invented row, in the columns and form of the real file."""
    name = recipient.institution_id
    delivery_id = f"test-{name}-{number}"
    version: dict[str, Any] = {
        "version": 1,
        "rows": 1,
        "schema_version": CONTRACT.schema_version,
    }
    facts: dict[str, Any] = {
        "delivery_id": delivery_id,
        "institution_id": name,
        "date": f"{day}",
        "schema_version": MANIFEST_CONTRACT.schema_version,
        "version": 1,
        "rows": 1,
        "state": "delivered",
        "test": True,
        "format": recipient.format,
        "delivery": recipient.delivery,
        "columns": recipient.columns,
        "withheld_fields": recipient.withheld,
        "deliveries": [version],
        "retracted": [],
    }
    folder = test_folder(settings, recipient, number)
    with publishing(folder, facts) as fresh:
        file = fresh / f"leads.{recipient.format}"
        rows = _make_rows(recipient.columns, delivery_id)
        lead_file.write(rows, file, schema_version=CONTRACT.schema_version, bom=recipient.csv_bom)
        _, sealing = seal_to(settings, file, recipient.public_key, datetime.now(UTC))
        version |= sealing
        (fresh / ALLOWED_SIGNERS).write_text(publish_keys(settings), "utf-8")
    sign_file(folder / MANIFEST, load_signing_key(settings, day))
    return TestDelivery(number, delivery_id, terms, version["sha256"], asked_on=f"{day}")


def _make_rows(columns: Sequence[str], match_id: str) -> pa.Table:
    """Return one invented row; its texts say nothing and its match id is the delivery's."""
    chosen = [
        column
        for column in CONTRACT.possible_columns
        if column in CONTRACT.columns or column.name in columns
    ]
    sample = make_sample(tuple(chosen)) | {"match_id": match_id}
    for column in load("leads").columns:  # no number that somebody could call
        if column.name in sample and column.personal and column.type == "text":
            sample[column.name] = "test"
    values = [pa.array([sample[column.name]]).cast(column.arrow_type) for column in chosen]
    return pa.table(values, names=[column.name for column in chosen])


def _hash_terms(recipient: Recipient, place: Place) -> str:
    key = (recipient.public_key or "").strip()
    terms = [recipient.delivery, recipient.format, recipient.csv_bom, key]
    content = json.dumps([*terms, place.address, place.host_key])
    return hashlib.sha256(content.encode()).hexdigest()


def _tests_file(settings: Settings, institution_id: str) -> Path:
    return settings.transport / GOING_LIVE / f"{institution_id}.json"


def _write_tests(settings: Settings, institution_id: str, tests: Sequence[TestDelivery]) -> None:
    content = ADAPTER.dump_python(tuple(tests), mode="json")
    write_json(_tests_file(settings, institution_id), {"tests": content})
