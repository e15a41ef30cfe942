"""Every outgoing file keeps its contract, and the derived schemas say what the contracts say."""

import json

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
from tests.deliveries.test_deliver import CSV_BANK, PARQUET_BANK, deliver_all, folder_of
from tests.helpers.matched_day import DAY

NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_gives_a_valid_schema_and_a_sample_that_keeps_it(name):
    contract = load_outbound(name)
    schema = make_json_schema(contract)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(make_sample(contract.possible_columns), schema)


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
