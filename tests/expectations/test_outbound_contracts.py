"""Every outgoing file keeps its contract, and the derived schemas say what the contracts say."""

import csv
import io
import json
import re
from datetime import date
from decimal import Decimal
from operator import mul
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from expectations.contracts import feeds, load
from expectations.outbound_contracts import (
    FOLDER,
    derive_outbound_files,
    load_outbound,
    make_feed_schema,
    make_json_schema,
    make_sample,
)
from pipelines.core.publishing import read_manifest
from pipelines.deliveries.attachments import Attachments, add_version, publish_attachments
from pipelines.deliveries.ledger.delivery_versions import parse_delivery_id
from tests.deliveries.test_deliver import CSV_BANK, PARQUET_BANK, deliver_all, folder_of
from tests.helpers.matched_day import DAY

NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_gives_a_valid_schema_and_a_sample_that_keeps_it(name):
    contract = load_outbound(name)
    schema = make_json_schema(contract)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(make_sample(contract.possible_columns), schema)


def read_samples() -> dict[str, dict[str, str]]:
    """Return the row of each sample that is a table, by contract."""
    files = derive_outbound_files().items()
    texts = {
        Path(name).name.partition(".")[0]: text for name, text in files if "sample.csv" in name
    }
    return {name: next(csv.DictReader(io.StringIO(text))) for name, text in texts.items()}


def test_the_samples_are_of_one_lead_and_one_delivery():
    samples = read_samples()
    assert len(samples) == len(NAMES) - 1
    for column, pattern in {
        "match_id": r"[0-9a-f]{32}",
        "lead_id": r"260302-\d{7}",
        "delivery_id": "20260302-bank-001",
        "product_id": "loan-1",
        "file": r"2026-03-03/\w+\.csv",
    }.items():
        found = {sample[column] for sample in samples.values() if column in sample}
        assert found
        assert all(re.fullmatch(pattern, value) for value in found)
        assert len(found) == 1 or column == "file"
    manifest = make_sample(load_outbound("delivery_manifest").possible_columns)
    assert parse_delivery_id(manifest["delivery_id"]) == ("", date(2026, 3, 2), "bank-001")
    (version,) = manifest["deliveries"]
    assert (version["version"], version["rows"]) == (manifest["version"], manifest["rows"])
    assert version["sealed_with"]["key"] == manifest["public_key"]


def test_the_samples_state_money_that_adds_up_and_a_lead_that_the_ingest_accepts():
    samples = read_samples()
    line = samples["statement"]
    parts = [Decimal(line[name]) for name in ("charges", "credits", "adjustments")]
    assert sum(parts) == Decimal(line["amount_due"]) == Decimal(2938)
    assert Decimal(line["charges"]) == int(line["delivered"]) * Decimal(line["price"])
    assert samples["statement_matches"]["amount"] == "26.00"
    offer = {name: Decimal(samples["offer"][name]) for name in ("interest", "total_cost")}
    assert offer["interest"] + Decimal(samples["offer"]["fees_in_any_case"]) == offer["total_cost"]
    lead = samples["lead_file"]
    rules = make_feed_schema(load("leads"))["properties"]
    stated = {
        name: value
        for name, value in make_sample(load_outbound("lead_file").possible_columns).items()
        if name in rules
    }
    for name, value in stated.items():
        jsonschema.validate(value, rules[name])
    number = [10 if digit == "X" else int(digit) for digit in lead["id_number"]]
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2, 1)  # of GB 11643
    assert sum(map(mul, number, weights)) % 11 == 1
    assert lead["birth_date"].replace("-", "") == lead["id_number"][6:14]
    assert "text" not in {value for sample in samples.values() for value in sample.values()}


RECEIPT = {
    "delivery_id": "20260302-bank-001",
    "version": 1,
    "sha256": "0" * 64,
    "rows": 184,
    "status": "ack",
    "reason": None,
    "at": "2026-03-03T08:00:00+08:00",
}


def test_a_feed_schema_refuses_what_the_ingest_quarantines():
    schema = make_feed_schema(load("receipts"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(RECEIPT | {"clerk": "an unknown column is kept"}, schema)
    broken = [{"status": "ok"}, {"sha256": "0"}, {"rows": -1}, {"version": None}, {"rows": "12"}]
    for value in broken:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(RECEIPT | value, schema)
    for column in load("receipts").columns:
        if column.required:
            row = {name: value for name, value in RECEIPT.items() if name != column.name}
            with pytest.raises(jsonschema.ValidationError, match=column.name):
                jsonschema.validate(row, schema)


@pytest.mark.parametrize("feed", feeds())
def test_each_feed_has_a_schema_of_its_columns(feed):
    schema = json.loads(derive_outbound_files()[f"docs/reference/schemas/feeds/{feed}.schema.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert [*schema["properties"]] == load(feed).names


@pytest.mark.parametrize("name", NAMES)
def test_an_export_names_every_column(name):
    text = derive_outbound_files()[f"docs/reference/schemas/{name}.odcs.yaml"]
    exported = yaml.safe_load(text)
    (table,) = exported["schema"]
    columns = [column.name for column in load_outbound(name).possible_columns]
    assert [column["name"] for column in table["properties"]] == columns
    assert exported["version"] == f"{load_outbound(name).schema_version}.0.0"


def test_published_deliveries_keep_their_contracts(matched_copy):
    answers = pa.table({"file": ["2026-11-20/receipts.csv"], "line": [2]})
    columns = load_outbound("receipt_answer").schema.names
    for name in columns[2:]:
        answers = answers.append_column(name, pa.array(["accepted" if name == "status" else None]))
    quiet = folder_of(matched_copy, "bank-quiet")  # without a lead, and with an answer
    attachments = add_version(Attachments(), quiet, "receipt_answers", answers)
    publish_attachments(DAY, quiet, attachments, {})
    deliver_all(matched_copy)
    schema = make_json_schema(load_outbound("delivery_manifest"))
    manifests = list(matched_copy.outbox.glob("**/manifest.json"))
    assert {path.parent.name for path in manifests} >= {CSV_BANK, PARQUET_BANK, "bank-quiet"}
    for path in manifests:
        jsonschema.validate(json.loads(path.read_text("utf-8")), schema)
    assert read_manifest(quiet)["state"] == "nothing"
    rows = pq.read_table(folder_of(matched_copy, PARQUET_BANK) / "leads.parquet").to_pylist()
    assert rows
    row_schema = make_json_schema(load_outbound("lead_file"))
    for row in json.loads(json.dumps(rows, default=str)):
        jsonschema.validate(row, row_schema)


def test_published_offers_keep_their_contract(matched_home):
    offers = matched_home.day_folder(matched_home.offers, DAY) / "offers.parquet"
    table = pq.read_table(offers, partitioning=None)
    contract = load_outbound("offer")
    assert table.column_names == [column.name for column in contract.possible_columns]
    schema = make_json_schema(contract)
    for row in table.to_pylist():
        jsonschema.validate(row, schema)


def test_no_protected_or_internal_column_may_be_in_a_lead_file():
    columns = {column.name for column in load_outbound("lead_file").possible_columns}
    assert {"match_id", "phone", "amount"} <= columns
    assert columns.isdisjoint({"gender", "ethnicity", "known_at", "landed_on"})
