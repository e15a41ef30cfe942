"""Going live: a test delivery without any person comes before the first real file.

The institution acknowledges it by a receipt (feed `receipts`) that names its id and hash: then it
has read, decrypted and answered a file once. Another host, host key, public key, format or folder
asks again. A refused test delivery is followed by the next one, with the next number.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from expectations import policy
from expectations.outbound_contracts import load_outbound, make_sample
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json
from pipelines.deliveries import lead_file
from pipelines.deliveries.sealing import seal_to
from pipelines.deliveries.signatures import (
    ALLOWED_SIGNERS,
    load_signing_key,
    publish_keys,
    sign_file,
)
from pipelines.transport.endpoints import Endpoint
from pipelines.transport.records import format_time

CONTRACT, MANIFEST_CONTRACT = load_outbound("lead_file"), load_outbound("delivery_manifest")
FOLDER = "going_live"
RECEIPT_COLUMNS = ["institution_id", "delivery_id", "sha256", "status"]


@dataclass(frozen=True)
class TestDelivery:
    """One test delivery, in `transport/going_live/INSTITUTION/NUMBER/`."""

    number: int
    delivery_id: str
    terms: str
    """Hash of what it tests: transport, address, host key, public key and format."""
    sha256: str
    """Hash of its lead file, which a receipt names."""
    sent_at: str = ""


ADAPTER = TypeAdapter(tuple[TestDelivery, ...])


def find_open_test(
    settings: Settings, day: date, delivered: Path, endpoint: Endpoint
) -> TestDelivery | None:
    """Return the test delivery that must be acknowledged first; None: the institution is live.

    A test delivery is made if there is none for the present terms, or if the last was refused.

    Args:
        settings: Settings of the home.
        day: The business date of the real delivery.
        delivered: The folder of the real delivery.
        endpoint: Where it goes.

    Raises:
        KeyUnusable: The institution's public key can't be used.
        IntegrityError: The list of its test deliveries is damaged.
    """
    manifest = read_manifest(delivered)
    if policy.transport().going_live.get(manifest["delivery"]) != "required":
        return None
    name = delivered.name
    terms = _hash_terms(manifest, endpoint)
    tests = read_tests(settings, name)
    newest = next((test for test in reversed(tests) if test.terms == terms), None)
    answers = _read_answers(settings, name, newest) if newest else set()
    if newest and "ack" in answers:
        return None
    if newest is None or "nak" in answers:
        newest = _make_test(settings, day, manifest, len(tests) + 1, terms)
        _write_tests(settings, name, [*tests, newest])
    return newest


def read_tests(settings: Settings, institution_id: str) -> tuple[TestDelivery, ...]:
    """Return the test deliveries of an institution, oldest first."""
    path = _tests_file(settings, institution_id)
    if not path.is_file():
        return ()
    try:
        return ADAPTER.validate_python(read_json(path).get("tests"))
    except ValidationError:
        raise IntegrityError(describe_damage(path, "it is no list of test deliveries")) from None


def mark_test_sent(settings: Settings, institution_id: str, test: TestDelivery) -> None:
    """Record that a test delivery has arrived."""
    at = format_time(datetime.now(UTC))
    tests = [
        TestDelivery(each.number, each.delivery_id, each.terms, each.sha256, at)
        if each.number == test.number
        else each
        for each in read_tests(settings, institution_id)
    ]
    _write_tests(settings, institution_id, tests)


def test_folder(settings: Settings, institution_id: str, test: TestDelivery) -> Path:
    """Return the folder with the files of a test delivery."""
    return settings.transport / FOLDER / institution_id / f"{test.number}"


def _make_test(
    settings: Settings, day: date, manifest: Mapping[str, Any], number: int, terms: str
) -> TestDelivery:
    """Publish a test delivery: one invented row, in the columns and form of the real file."""
    name = manifest["institution_id"]
    delivery_id = f"test-{name}-{number}"
    schema_version = CONTRACT.schema_version
    version: dict[str, Any] = {"version": 1, "rows": 1, "schema_version": schema_version}
    test = TestDelivery(number, delivery_id, terms, sha256="")
    facts: dict[str, Any] = {
        "delivery_id": delivery_id,
        "institution_id": name,
        "date": f"{day}",
        "schema_version": MANIFEST_CONTRACT.schema_version,
        "version": 1,
        "rows": 1,
        "state": "delivered",
        "test": True,
        **{key: manifest[key] for key in ("format", "delivery", "columns", "withheld_fields")},
        "deliveries": [version],
        "retracted": [],
    }
    folder = test_folder(settings, name, test)
    with publishing(folder, facts) as fresh:
        file = fresh / f"leads.{manifest['format']}"
        bom = policy.transport().agreement(name).csv_bom
        rows = _make_rows(manifest["columns"], delivery_id)
        lead_file.write(rows, file, schema_version=schema_version, bom=bom)
        _, sealing = seal_to(settings, file, manifest.get("public_key"), datetime.now(UTC))
        version |= sealing
        (fresh / ALLOWED_SIGNERS).write_text(publish_keys(settings), "utf-8")
    sign_file(folder / MANIFEST, load_signing_key(settings, day))
    return TestDelivery(number, delivery_id, terms, version["sha256"])


def _make_rows(columns: Sequence[str], match_id: str) -> pa.Table:
    """Return one invented row; its texts say nothing and its match id is the delivery's."""
    chosen = [
        column
        for column in CONTRACT.possible_columns
        if column in CONTRACT.columns or column.name in columns
    ]
    sample = make_sample(tuple(chosen)) | {"match_id": match_id}
    values = [pa.array([sample[column.name]]).cast(column.arrow_type) for column in chosen]
    return pa.table(values, names=[column.name for column in chosen])


def _hash_terms(manifest: Mapping[str, Any], endpoint: Endpoint) -> str:
    bom = policy.transport().agreement(manifest["institution_id"]).csv_bom
    key = (manifest.get("public_key") or "").strip()
    terms = [manifest["delivery"], manifest["format"], bom, key]
    content = json.dumps([*terms, endpoint.address, endpoint.host_key])
    return hashlib.sha256(content.encode()).hexdigest()


def _read_answers(settings: Settings, institution_id: str, test: TestDelivery) -> set[str]:
    """Return the states of the institution's own receipts for exactly this file."""
    answers: set[str] = set()
    for file in sorted((settings.lake / "receipts").glob("date=*/receipts.parquet")):
        if not set(RECEIPT_COLUMNS) <= set(pq.read_schema(file).names):
            continue
        rows = pq.read_table(file, columns=RECEIPT_COLUMNS, partitioning=None)
        stated = {
            "institution_id": institution_id,
            "delivery_id": test.delivery_id,
            "sha256": test.sha256,
        }
        for name, value in stated.items():
            text = pc.utf8_lower(rows[name]) if name == "sha256" else rows[name]
            rows = rows.filter(pc.equal(text, value))
        answers |= set(rows["status"].to_pylist())
    return answers


def _tests_file(settings: Settings, institution_id: str) -> Path:
    return settings.transport / FOLDER / f"{institution_id}.json"


def _write_tests(settings: Settings, institution_id: str, tests: Sequence[TestDelivery]) -> None:
    content = ADAPTER.dump_python(tuple(tests), mode="json")
    write_json(_tests_file(settings, institution_id), {"tests": content})
