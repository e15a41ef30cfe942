"""What a delivery takes back reaches its institution as a file, which it acknowledges."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pyrage
import pytest

from expectations.outbound_contracts import load_outbound, make_json_schema
from pipelines.core.publishing import read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.ledger.open_deliveries import find_open
from pipelines.deliveries.ledger.receipts import judge_receipts
from tests.deliveries.test_deliver import (
    CSV_BANK,
    PARQUET_BANK,
    deliver_all,
    folder_of,
    matches_of,
    replace_mart,
)
from tests.deliveries.test_present_knowledge import LATER, NEXT, order
from tests.helpers.lake import at, write_feed
from tests.helpers.matched_day import DAY
from tests.helpers.representatives import keep
from tests.independent.check import check_retractions

pytestmark = pytest.mark.usefixtures("remembered")


def erase(settings: Settings, *matches: dict[str, Any]) -> None:
    """Let an erasure of the persons become known, and deliver again."""
    write_feed(settings, "suppressions", NEXT, map(order, matches))
    deliver_all(settings)


def lists_of(settings: Settings, bank: str = CSV_BANK) -> list[dict[str, Any]]:
    lists: list[dict[str, Any]] = read_manifest(folder_of(settings, bank)).get("retractions", [])
    return lists


def rows_of(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lead_file.read(file).to_pylist()
    return rows


@pytest.mark.parametrize(("bank", "form"), [(CSV_BANK, "csv"), (PARQUET_BANK, "parquet")])
def test_a_correction_brings_the_list_of_what_it_takes_back(delivered_copy, bank, form):
    assert lists_of(delivered_copy, bank) == []
    match = matches_of(delivered_copy, bank)[0]
    erase(delivered_copy, match)
    file = folder_of(delivered_copy, bank) / f"retractions.{form}"
    (entry,) = lists_of(delivered_copy, bank)
    assert entry == {
        "delivery_id": f"retraction-20261120-{bank}",
        "version": 1,
        "file": file.name,
        "rows": 1,
        "sha256": sha256(file),
        "content_sha256": sha256(file),
        "schema_version": 2,
        "judged_as_of": f"{NEXT}",
        "lead_version": 2,
    }
    (row,) = rows_of(file)
    expected = {"match_id": match["match_id"], "delivery_id": f"20261120-{bank}"}
    assert {name: f"{value}" for name, value in row.items()} == expected | {
        "version": "1",
        "schema_version": "2",
    }
    if form == "parquet":
        jsonschema.validate(row, make_json_schema(load_outbound("retraction_list")))
    schema = make_json_schema(load_outbound("delivery_manifest"))
    jsonschema.validate(read_manifest(file.parent), schema)
    deliver_all(delivered_copy)
    assert lists_of(delivered_copy, bank) == [entry]


def test_a_second_correction_brings_a_second_list_and_keeps_the_first(delivered_copy):
    first, second = matches_of(delivered_copy, CSV_BANK)[:2]
    erase(delivered_copy, first)
    before = (folder_of(delivered_copy, CSV_BANK) / "retractions.csv").read_bytes()
    erase(delivered_copy, first, second)
    folder = folder_of(delivered_copy, CSV_BANK)
    assert (folder / "retractions.csv").read_bytes() == before
    (row,) = rows_of(folder / "retractions.v2.csv")
    assert (row["match_id"], row["version"]) == (second["match_id"], "2")
    assert [entry["lead_version"] for entry in lists_of(delivered_copy)] == [2, 3]
    assert list(check_retractions(DAY, folder / "manifest.json")) == []


def test_a_sealed_list_opens_with_the_institutions_identity(matched_copy):
    identity = pyrage.x25519.Identity.generate()
    replace_mart(matched_copy, "products", "public_key", f"{identity.to_public()}", CSV_BANK)
    deliver_all(matched_copy)
    match = matches_of(matched_copy, CSV_BANK)[0]
    erase(matched_copy, match)
    (entry,) = lists_of(matched_copy)
    assert entry["file"] == "retractions.csv.age"
    assert entry["sealed_with"] == {"form": "age", "key": f"{identity.to_public()}"}
    sealed = (folder_of(matched_copy, CSV_BANK) / entry["file"]).read_bytes()
    assert match["match_id"].encode() in pyrage.decrypt(sealed, [identity])
    assert match["match_id"].encode() not in sealed
    deliver_all(matched_copy)
    assert lists_of(matched_copy) == [entry]


def test_a_held_delivery_brings_a_list_without_a_lead_file(delivered_copy):
    match = matches_of(delivered_copy, CSV_BANK)[0]
    ended = {"institution_id": CSV_BANK, "admitted_to": DAY}
    write_feed(delivered_copy, "institutions", NEXT, [ended])
    erase(delivered_copy, match)
    manifest = read_manifest(folder_of(delivered_copy, CSV_BANK))
    assert (manifest["state"], manifest["version"]) == ("held", 1)
    assert [entry["lead_version"] for entry in manifest["retractions"]] == [1]
    deliver_all(delivered_copy)
    assert len(lists_of(delivered_copy)) == 1
    # admitted again: the correction takes back the same match, and no list says it twice
    write_feed(delivered_copy, "institutions", NEXT, [{"institution_id": CSV_BANK}])
    deliver_all(delivered_copy)
    manifest = read_manifest(folder_of(delivered_copy, CSV_BANK))
    assert (manifest["state"], manifest["version"]) == ("delivered", 2)
    assert len(manifest["retractions"]) == 1


def test_matches_that_a_hold_took_back_go_out_again_as_a_new_version(delivered_copy):
    match = matches_of(delivered_copy, CSV_BANK)[0]
    ended = {"institution_id": CSV_BANK, "admitted_to": DAY}
    write_feed(delivered_copy, "institutions", NEXT, [ended])
    erase(delivered_copy, match)
    assert len(lists_of(delivered_copy)) == 1
    write_feed(delivered_copy, "institutions", NEXT, [{"institution_id": CSV_BANK}])
    write_feed(delivered_copy, "suppressions", NEXT)  # the order was a mistake
    deliver_all(delivered_copy)
    folder = folder_of(delivered_copy, CSV_BANK)
    assert (folder / "leads.v2.csv").read_bytes() == (folder / "leads.csv").read_bytes()
    assert deliver_all(delivered_copy)["delivered"] == 0


@pytest.mark.parametrize(
    ("changes", "judgement"),
    keep(
        (0, 2, 5),
        [
            ({}, "received"),
            ({"status": "nak"}, "refused"),
            ({"sha256": "0" * 64}, "wrong_hash"),
            ({"rows": 7}, "wrong_rows"),
            ({"version": 2}, "unknown_delivery"),
            ({"delivery_id": f"retraction-20261120-{PARQUET_BANK}"}, "foreign"),
        ],
    ),
)
def test_a_list_is_acknowledged_like_a_lead_file(matched_copy, changes, judgement):
    deliver_all(matched_copy)
    erase(matched_copy, matches_of(matched_copy, CSV_BANK)[0])
    (entry,) = lists_of(matched_copy)
    receipt = {
        "institution_id": CSV_BANK,
        "delivery_id": f"retraction-20261120-{CSV_BANK}",
        **{name: entry[name] for name in ("version", "sha256", "rows")},
        "at": at("2026-11-22 08:00"),
    }
    before = find_open(matched_copy, LATER, []).counts["retractions_open"]
    assert before >= 1  # the person's other institutions have a list as well
    write_feed(matched_copy, "receipts", LATER, [receipt | changes])
    (judged,) = judge_receipts(matched_copy, LATER, set)
    assert judged.judgement == judgement
    counts = find_open(matched_copy, LATER, [judged]).counts
    assert counts["retractions_open"] == before - judged.decides


def test_a_list_without_a_receipt_is_a_finding_of_an_institution_that_acknowledges(matched_copy):
    deliver_all(matched_copy)
    erase(matched_copy, matches_of(matched_copy, CSV_BANK)[0])
    newest = read_manifest(folder_of(matched_copy, CSV_BANK))["deliveries"][-1]
    receipt = {
        "institution_id": CSV_BANK,
        "delivery_id": f"20261120-{CSV_BANK}",
        **{name: newest[name] for name in ("version", "sha256", "rows")},
        "at": at("2026-11-22 08:00"),
    }
    write_feed(matched_copy, "receipts", LATER, [receipt])
    judged = judge_receipts(matched_copy, LATER, set)
    (early,) = (find_open(matched_copy, LATER, judged).findings,)
    assert early == []  # the list is of the day after: it is not late yet
    late = LATER.replace(day=LATER.day + 1)
    (finding,) = find_open(matched_copy, late, judged).findings
    assert (finding["id"], finding["count"]) == ("receipts_missing", 1)
    assert finding["detail"] == f"retraction-20261120-{CSV_BANK}"


def test_the_independent_check_finds_a_list_that_is_wrong(matched_copy):
    deliver_all(matched_copy)
    first, second = matches_of(matched_copy, CSV_BANK)[:2]
    erase(matched_copy, first)
    folder = folder_of(matched_copy, CSV_BANK)
    manifest = folder / "manifest.json"
    assert list(check_retractions(DAY, manifest)) == []
    file = folder / "retractions.csv"
    before = file.read_text("utf-8")
    file.write_text(before.replace(first["match_id"], second["match_id"]), "utf-8")
    kinds = {violation.kind for violation in check_retractions(DAY, manifest)}
    assert kinds == {
        "a retraction list is not the file of the manifest",
        "a match was taken back, and no retraction list has it",
    }
    file.write_text(before.replace(first["match_id"], "never"), "utf-8")
    kinds = {violation.kind for violation in check_retractions(DAY, manifest)}
    assert "a retraction list has a match that was never sent" in kinds
    file.write_text(before, "utf-8")
    facts = json.loads(manifest.read_text("utf-8"))
    manifest.write_text(json.dumps(facts | {"retractions": []}), "utf-8")
    (violation,) = check_retractions(DAY, manifest)
    assert violation.kind == "a match was taken back, and no retraction list has it"
