"""Broken copies of leads, products and institutions, and ids in other letters, close."""

import json
from datetime import timedelta

import pytest

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.ingest.reading.records import RejectedRecord
from pipelines.ingest.restrictions.salvage import find_keys
from tests.helpers.landing import DAY, csv_bytes, land, leads, path_of, row
from tests.ingest.published import loaded, quarantined
from tests.ingest.test_restrictions import WITHDRAWN, closed, findings, order, orders, run

pytestmark = pytest.mark.usefixtures("remembered")

NEXT = DAY + timedelta(days=1)
HEADER = ("row_number", "lead_id", "captured_at", "amount", "consent_withdrawn_at")


def find(received, header=None, rule="json", *, is_cut=False):
    record = RejectedRecord(2, rule, "", received)
    return [*find_keys(record, "lead_id", header, is_cut=is_cut)]


@pytest.mark.parametrize(
    "received",
    [
        '{"lead_id":"L1","amount":5,',
        '{"lead_id" : "L1" "amount":5}',
        '{"amount":5,"lead_id":"L1"',
        "{'lead_id': 'L1', 'amount': 5}",
        "{lead_id: L1, amount: 5}",
        '{"lead_id:"L1","amount":5}',
        '{"lead_id""L1","amount":5}',
        '{"lead_id":L1","amount":5}',
        '{"lead_id":"L1,"amount":5}',
        '[{"lead_id":"L1","amount":5}]',
        '  "lead_id": "L1",',
        '{"amount":5,"amount":6,"lead_id":"\\u004c1"}',
        json.dumps(json.dumps({"lead_id": "L1", "amount": 5})),
        '{\0"\0l\0e\0a\0d\0_\0i\0d\0"\0:\0"\0L\0001\0"\0}',
    ],
)
def test_the_lead_of_a_damaged_json_line_is_found(received):
    assert "L1" in find(received)


@pytest.mark.parametrize(
    "received",
    ['{"lead_id":"L1', '{"lead_id":L1', '{"other_lead_id":"L1"}', '{"note":"L1"}', "{}", ""],
)
def test_a_value_that_may_be_cut_or_has_another_key_is_no_lead(received):
    assert find(received) == []


@pytest.mark.parametrize(
    ("received", "found"),
    [
        ('7,"L1,2026,5,', ["L1"]),
        ("7,L1,2026,5,,", ["L1", "2026"]),
        ("8,7,L1,2026,5,x", ["7", "L1"]),
        ("L1,2026,5,x", ["L1", "2026"]),
        ("7;L1;2026;5;", ["L1"]),
        ("7,L1", ["7", "L1"]),
    ],
)
def test_fields_that_may_be_the_id_of_a_csv_record_are_found(received, found):
    assert find(received, HEADER, "fields") == found


def test_the_last_field_of_a_cut_record_is_no_id():
    assert find("7,L1", HEADER, "fields", is_cut=True) == ["7"]


def test_records_between_bare_carriage_returns_are_searched_singly():
    assert find("7,L1,2026,5,\r8,L2,2026,5,", HEADER, "line_end") == ["L1", "L2"]


def csv_lines(rows):
    return csv_bytes(rows).decode().splitlines(keepends=True)


def broken_csv(settings, channel, day, break_line):
    """Land many leads, the second line of them broken."""
    header, *lines = csv_lines([*leads(30, consent_withdrawn_at=WITHDRAWN)])
    name = path_of(settings, "leads", channel, day, name="again.csv")
    land(name, "".join([header, *lines[:29], break_line(lines[29])]).encode())


BREAKS = {
    "field": lambda line: line.replace("\n", ",extra\n"),
    "quote": lambda line: line.replace("autumn", '"autumn'),
    "short": lambda line: f"{line[:20].rpartition(',')[0]}\n",
    "bytes": lambda line: line.replace("Zhang San", "Zhang \0San"),
}


def test_a_broken_copy_closes_the_lead_that_it_names_and_no_other(settings):
    for channel in BREAKS:
        land(path_of(settings, "leads", channel), leads(40, consent_withdrawn_at=None))
    lines = [json.dumps(one) for one in leads(30, consent_withdrawn_at=WITHDRAWN)]
    land(path_of(settings, "leads", "json"), leads(40, consent_withdrawn_at=None))
    run(settings)
    assert orders(settings) == []
    for channel, break_line in BREAKS.items():
        broken_csv(settings, channel, NEXT, break_line)
    lines[29] = lines[29].replace('"segment"', "segment")
    again = path_of(settings, "leads", "json", NEXT, name="again.jsonl")
    land(again, "\n".join([*lines, ""]).encode())
    run(settings, NEXT)
    found = {subject: reason for _, subject, _, reason in orders(settings, NEXT)}
    for channel in (*BREAKS, "json"):
        withdrawn = {f"{channel}/L{number:05d}" for number in range(1, 30)}
        assert {name for name in found if name.startswith(channel)} == {
            *withdrawn,
            f"{channel}/L00030",
        }
        assert found[f"{channel}/L00030"] == "unreadable_consent"
    assert findings(settings, "closing_orders", NEXT)["unreadable_consent"] == 5
    rejected = [record for record in quarantined(settings, day=NEXT) if record["rows"]]
    assert sum(record["severity"] == "critical" for record in rejected) == 5


def test_a_broken_record_of_a_lead_that_is_not_known_closes_nothing(settings):
    rows = leads(30, consent_withdrawn_at=None)
    text = csv_bytes(rows).decode().replace("L00030,", "L00030,extra,")
    land(path_of(settings, "leads"), text.encode())
    run(settings)
    assert len(loaded(settings)) == 29
    assert orders(settings) == []
    land(path_of(settings, "leads", day=NEXT), rows[29:])
    run(settings, NEXT)
    assert len(loaded(settings, day=NEXT)) == 1  # the corrected row is matched
    assert orders(settings, NEXT) == []


def test_a_broken_row_of_a_catalogue_closes_what_another_file_lists(settings):
    land(path_of(settings, "institutions", "platform"), [row("institutions")])
    names = [f"p-{number}" for number in range(30)]
    products = [row("products", product_id=name) for name in names]
    land(path_of(settings, "products", "bank_01"), products)
    ended = csv_bytes([*products[1:], products[0] | {"status": "paused"}]).decode()
    ended = ended.replace("p-0,", "p-0,extra,")
    land(path_of(settings, "products", "bank_01", name="more.csv"), ended.encode())
    run(settings)
    assert ("close_product", "bank_01", "p-0") in closed(settings)


@pytest.mark.parametrize("name", ["BANK_01", "Bank 01", "bank-01", "\uff42ank_01"])
def test_an_institution_in_other_letters_closes_the_one_that_is_meant(settings, name):
    land(
        path_of(settings, "institutions", "platform"),
        [
            row("institutions"),
            row("institutions", institution_id="bank_02"),
            row("institutions", institution_id=name, admitted_to="2026-11-01"),
        ],
    )
    run(settings)
    if name == "bank-01":  # it can be read, and may be another institution
        assert closed(settings) == []
        return
    assert closed(settings) == [("close_institution", "bank_01", None)]
    (finding,) = read_manifest(Settings.day_folder(settings.lake / "restrictions", DAY))["findings"]
    assert finding["id"] == "unreadable_file_closes_institution"
    assert "rows.csv line 4 (column institution_id, pattern)" in finding["detail"]


def test_an_order_on_a_channel_in_capitals_is_obeyed_and_an_unreadable_one_is_named(settings):
    land(path_of(settings, "leads"), leads(3, consent_withdrawn_at=None))
    land(
        path_of(settings, "suppressions", "platform"),
        [
            order(),
            order(reason="fraud"),
            order(subject_type="lead", subject="SEARCH/L00001"),
            order(subject_type="lead", subject="Search/L00001"),
            order(subject_type="lead", subject="Se arch/L00002"),
        ],
    )
    land(path_of(settings, "institutions", "platform"), [row("institutions")])
    run(settings)
    assert [each["subject"] for each in loaded(settings, "suppressions")].count(
        "search/L00001"
    ) == 1
    assert closed(settings) == [("hold_delivery", None, None)]
    stated = read_manifest(Settings.day_folder(settings.lake / "restrictions", DAY))["findings"]
    assert [finding["id"] for finding in stated] == ["unreadable_order_holds_delivery"]
    place = "suppressions/platform/2026-11-20/rows.csv line 6 (column subject, conditional_pattern)"
    assert stated[0]["detail"] == place
