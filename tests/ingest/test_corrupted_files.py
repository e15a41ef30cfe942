"""Each kind of corruption rejects its own rows only, and its message says what to do.

One run reads one file of each kind, each from its own channel, which also proves that a corrupted
file does not affect the others.
"""

import gzip
import io
import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from tests.helpers.feeds import good, received
from tests.helpers.landing import DAY, csv_bytes, land, leads, path_of
from tests.ingest.published import counts, loaded, quarantined

ROWS = 20
GOOD = csv_bytes(leads(ROWS))
HEADER = GOOD.split(b"\n")[0]


@dataclass
class Case:
    """A file and its expected counts and quarantine records."""

    name: str
    content: bytes
    loaded: int
    quarantined: int = 0
    duplicates: int = 0
    emptied: int = 0
    rejected: bool = False
    records: tuple[tuple[int | None, str | None, str], ...] = ()
    """Line, column and rule of each record of quarantine."""
    message: str = ""
    """Part of the message."""
    file: str = "rows.csv"


def changed(changes: dict[int, dict[str, str]]) -> bytes:
    """Return 20 leads, some of them (by index) with changes."""
    rows = leads(ROWS)
    for index, change in changes.items():
        rows[index] |= change
    return csv_bytes(rows)


def with_lines(changes: dict[int, bytes]) -> bytes:
    """Return 20 leads with some lines (from 1, the header) replaced."""
    lines = GOOD.split(b"\n")
    for number, line in changes.items():
        lines[number - 1] = line
    return b"\n".join(lines)


def named(names: dict[int, str], encoding: str) -> bytes:
    """Return 20 leads, some with names, in another encoding."""
    return changed({i: {"full_name": name} for i, name in names.items()}).decode().encode(encoding)


def jsonl(changes: dict[int, bytes]) -> bytes:
    lines = [json.dumps(row).encode() for row in leads(ROWS)]
    for index, line in changes.items():
        lines[index] = line
    return b"\n".join(lines) + b"\n"


def as_json(**changes: object) -> bytes:
    return json.dumps(leads(1, first=900)[0] | changes).encode()


def parquet(changes: dict[str, pa.Array]) -> bytes:
    rows = [good("leads", lead_id=f"P{i}") for i in range(ROWS)]
    table = received("leads", rows)
    for name, column in changes.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


LINES = GOOD.split(b"\n")
NO_HEADER = b"\n".join(LINES[1:])
REPEATED_NAME = HEADER.replace(b"campaign_id", b"amount") + GOOD[len(HEADER) :]
WITHOUT_AMOUNT = GOOD.replace(b",amount,", b",sum,", 1)
ADDED = b"\n".join([*LINES[:16], *(line + b",new" for line in LINES[16:21]), b""])
LONGER = leads(2, purpose="line one\nline two") + leads(18, first=3)
SAME = leads(ROWS) + leads(2)

CASES = [
    Case("good", GOOD, 20),
    Case("good_gz", GOOD, 20, file="rows.csv.gz"),
    Case("bom", b"\xef\xbb\xbf" + GOOD, 20),
    Case("crlf", GOOD.replace(b"\n", b"\r\n"), 20),
    Case("no_end", GOOD.rstrip(b"\n"), 19, 1, records=((21, None, "unterminated_line"),),
         message="the last line has no line end"),
    Case("blank_lines", GOOD.replace(b"\n", b"\n\n") + b"\n\r\n", 20),
    Case("spaces", GOOD.replace(b",business,", b",  business \t,"), 20),
    Case("header_only", HEADER + b"\n", 0),
    Case("unknown_column", GOOD.replace(b"campaign_id", b"adgroup"), 20),
    Case("cases", GOOD.replace(b"campaign_id,full_name", b'Foo,foo "x\'\'', 1), 20),
    Case("copies_of_keys", csv_bytes(SAME), 20, duplicates=2,
         records=((22, None, "duplicate"), (23, None, "duplicate")), message="channel_id, lead_id"),
    Case("empty", b"", 0, rejected=True, records=((None, None, "empty"),), message="it is empty"),
    Case("no_header", NO_HEADER, 0, 19, rejected=True, records=((None, None, "header"),),
         message="required columns are missing: lead_id, captured_at"),
    Case("semicolons", GOOD.replace(b",", b";"), 0, 20, rejected=True,
         records=((None, None, "header"),), message="the separator looks like a semicolon and"),
    Case("tabs", GOOD.replace(b",", b"\t"), 0, 20, rejected=True,
         records=((None, None, "header"),), message="the separator looks like a tab and must"),
    Case("no_amount", WITHOUT_AMOUNT, 20),
    Case("repeated_name", REPEATED_NAME, 0, 20, rejected=True, records=((None, None, "header"),),
         message="1 column names are repeated in the header, among them: amount"),
    Case("header_quote", b'"' + GOOD, 0, 20, rejected=True, records=((None, None, "header"),),
         message="the header cannot be read: a quote is opened or closed in the wrong place"),
    Case("gb18030", named(dict.fromkeys(range(20), "王小明"), "gb18030"), 0, 20, rejected=True,
         records=((None, None, "reject_share"),), message="20 of its 20 rows (100.0%) break"),
    Case("some_gb18030", named(dict.fromkeys(range(3), "王小明"), "gb18030"), 17, 3,
         records=((2, None, "encoding"), (3, None, "encoding"), (4, None, "encoding")),
         message="import it by a mapping with its encoding"),
    Case("latin_1", named({4: "José"}, "latin-1"), 19, 1, records=((6, None, "encoding"),)),
    Case("utf_16", named({}, "utf-16"), 0, rejected=True, records=((None, None, "encoding"),),
         message="it is UTF-16"),
    Case("utf_16_bare", named({}, "utf-16-le"), 0, -1, rejected=True,
         records=((None, None, "header"),), message="no UTF-8 text"),
    Case("truncated_gz", gzip.compress(GOOD * 500)[:3000], 0, -1, rejected=True, file="rows.csv.gz",
         records=((None, None, "gzip"),), message="truncated or damaged gzip file"),
    Case("no_gz", b"lead_id,amount", 0, rejected=True, file="rows.jsonl.gz",
         records=((None, None, "gzip"),), message="truncated or damaged gzip file"),
    Case("added_column", ADDED, 15, 5,
         records=tuple((line, None, "fields") for line in range(17, 22)),
         message="fields and the header names"),
    Case("ragged", with_lines({3: b"L1,2", 7: b"x," + LINES[6]}), 18, 2,
         records=((3, None, "fields"), (7, None, "fields"))),
    Case("unclosed_quote", with_lines({5: b'"' + LINES[4]}), 19, 1, records=((5, None, "quote"),),
         message="a quote is opened or closed in the wrong place"),
    Case("nul", with_lines({9: LINES[8].replace(b"stock", b"st\0ck")}), 19, 1,
         records=((9, None, "encoding"),)),
    Case("line_breaks", csv_bytes([*LONGER[:-1], LONGER[-1] | {"amount": "x"}]), 19, 1,
         records=((23, "amount", "type"),)),
    Case("numbers", changed({i: {"income_monthly": text} for i, text in
                             enumerate(["1e400", "12%", "inf", "1,000", "0x1F", "1_000"])}),
         20, emptied=6, records=tuple((line, "income_monthly", "type") for line in range(2, 8)),
         message="income_monthly must be a finite number"),
    Case("amounts", changed({0: {"amount": "1,000"}, 1: {"amount": ""}}), 19, 1,
         records=((2, "amount", "type"),)),
    Case("no_offset", changed({0: {"captured_at": "2026-11-20T10:00:00"}}), 19, 1,
         records=((2, "captured_at", "type"),), message="must be a time with its offset"),
    Case("no_such_date", changed({0: {"birth_date": "2024-02-30"}}), 20, emptied=1,
         records=((2, "birth_date", "type"),), message="must be a date that exists"),
    Case("two_reasons", changed({0: {"amount": "-1", "segment": "?"}}), 19, 1,
         records=((2, "amount", "range"), (2, "segment", "allowed"))),
    Case("half", changed({i: {"amount": "-1"} for i in range(10)}), 10, 10,
         records=tuple((line, "amount", "range") for line in range(2, 12))),
    Case("over_half", changed({i: {"amount": "-1"} for i in range(11)}), 0, 20, rejected=True,
         records=((None, None, "reject_share"),),
         message="11 of its 20 rows (55.0%) break the leads contract; the limit is 50.0% "
         "(BANYAN_MAX_REJECT_SHARE). Most often broken: range of amount (11)"),
    Case("jsonl", jsonl({}), 20, file="rows.jsonl"),
    Case("jsonl_gz", jsonl({}), 20, file="rows.jsonl.gz"),
    Case("jsonl_corrupted", jsonl({0: b"[1]", 1: b"{", 2: b'{"a":1,"a":2}', 3: b'"x"',
                               4: as_json(purpose={"a": 1}), 5: as_json(lead_id=[1])}), 15, 5,
         emptied=1, file="rows.jsonl",
         records=((1, None, "json"), (2, None, "json"), (3, None, "json"), (4, None, "json"),
                (5, "purpose", "type"), (6, "lead_id", "type"))),
    Case("jsonl_types", jsonl({0: as_json(amount=1e4, is_urban=True, consent_scope=["a", "b"],
                                          employees=None, surprise="kept")}),
         20, file="rows.jsonl"),
    Case("parquet", parquet({}), 20, file="rows.parquet"),
    Case("parquet_types", parquet({"amount": pa.array(["1,000", "nan"] + ["5"] * 18)}), 19, 1,
         file="rows.parquet", records=((1, "amount", "type"),)),
    Case("parquet_nested", parquet({"amount": pa.array([{"a": 1}] * 20)}), 0, 20, rejected=True,
         file="rows.parquet", records=((None, None, "type"),), message="column amount is struct"),
    Case("parquet_naive", parquet({"captured_at": pa.array([0] * 20, pa.timestamp("us"))}), 0, 20,
         rejected=True, file="rows.parquet", records=((None, None, "reject_share"),),
         message="type of captured_at (20)"),
    Case("parquet_cut", parquet({})[:-40], 0, rejected=True, file="rows.parquet",
         records=((None, None, "parquet"),), message="truncated or damaged Parquet file"),
]  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("corrupted"), threads=2, memory_limit="1GB")
    for case in CASES:
        path = path_of(settings, "leads", case.name, DAY, case.file)
        is_made = case.name in {"truncated_gz", "no_gz"}
        land(path, gzip.compress(b"") if is_made else case.content)
        if is_made:
            path.write_bytes(case.content)
    ingest_day.ingest(settings, DAY)
    return settings


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_corruption_rejects_its_own_rows_only(case, settings):
    actual = counts(settings)[case.name]
    rows = actual["quarantined"] if case.quarantined < 0 else case.quarantined
    assert actual["files"] == 1
    assert actual["loaded"] == case.loaded
    assert actual["quarantined"] == rows
    assert actual["duplicates"] == case.duplicates
    assert actual["emptied_values"] == case.emptied
    assert actual["rejected_files"] == case.rejected
    assert actual["received"] == case.loaded + rows + case.duplicates
    assert sum(row["channel_id"] == case.name for row in loaded(settings)) == case.loaded


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_quarantine_records_have_line_column_rule_and_message(case, settings):
    records = [record for record in quarantined(settings) if record["source"] == case.name]
    assert {(r["line"], r["column"], r["rule"]) for r in records} == set(case.records)
    assert len(records) == len(case.records)
    assert sum(r["rows"] for r in records) == sum(
        counts(settings)[case.name][name] for name in ("quarantined", "duplicates")
    )
    if case.message:
        assert any(case.message in record["message"] for record in records)
    if case.rejected:
        assert f"leads/{case.name}/2026-11-20/{case.file}" in records[0]["message"]
        assert "Ask" in records[0]["message"]


def test_a_record_has_the_row_as_it_was_received(settings):
    records = {(r["source"], r["line"]): r["received"] for r in quarantined(settings)}
    assert records["ragged", 3] == "L1,2"
    assert records["latin_1", 6].count("Jos\\xe9") == 1
    assert records["line_breaks", 23].startswith("L00020,")
    assert records["jsonl_corrupted", 2] == "{"
    assert '"amount":"1,000"' in records["parquet_types", 1]


def test_a_truncated_file_counts_its_readable_rows(settings):
    assert counts(settings)["truncated_gz"]["received"] > ROWS


def test_no_message_holds_a_persons_data(settings):
    rows = leads(1)
    personal = {rows[0][name] for name in ("full_name", "id_number", "phone", "business_name")}
    messages = " ".join(record["message"] for record in quarantined(settings))
    assert personal
    assert not [value for value in personal if value in messages]


def test_unknown_columns_are_loaded_as_extras_and_reported(settings):
    manifest = read_manifest(Settings.day_folder(settings.lake / "leads", DAY))
    assert manifest["unknown_columns"]["unknown_column"] == ["adgroup"]
    assert manifest["unknown_columns"]["jsonl_types"] == ["surprise"]
    extras = {row["extras"] for row in loaded(settings) if row["channel_id"] == "unknown_column"}
    assert extras == {'{"adgroup":"autumn"}'}


def test_json_numbers_booleans_and_lists_are_read_by_their_value(settings):
    lead = next(
        row for row in loaded(settings)
        if row["channel_id"] == "jsonl_types" and row["extras"]
    )  # fmt: skip
    assert (lead["amount"], lead["is_urban"], lead["employees"]) == (10_000.0, True, None)
    assert lead["consent_scope"] == ["a", "b"]
