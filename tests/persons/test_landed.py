"""Rows of landed files are emptied in place: every other row keeps its bytes and its line."""

import csv
import gzip
import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.database import connect
from pipelines.core.home.erasures import read_changed_landings
from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings
from pipelines.ingest.landing import list_landed_files
from pipelines.persons.identify import create_leads_view
from pipelines.persons.landed import erase_lines, find_lines
from pipelines.persons.subjects import LEADS, MATCHES, VALUES, Subjects

DAY = date(2026, 3, 1)
PHONE, NUMBER = "+8613800138000", "11010519491231002X"
REQUIRED = {
    "captured_at": "2026-03-01T09:00:00+08:00",
    "segment": "consumer",
    "amount": "20000",
    "currency": "CNY",
    "consent_scope": "all",
    "consent_at": "2026-03-01T08:59:00+08:00",
    "consent_version": "1",
}


def row(lead: str, name: str = "", phone: str = "", number: str = "") -> dict[str, str]:
    own = {"lead_id": lead, "full_name": name, "phone": phone, "id_number": number}
    return own | REQUIRED


ROWS = [
    row("7", "Ann, of\nthe hill", "138-0013-8000"),
    row("8", "Bob", "+8613800138008"),
    row("9", "Ann", number="110105 19491231 002x"),
    row("10", "Eve", "+8613800138009", "440524188001010014"),
]
"""Of the first and the third row the person is the one that is erased."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def subjects() -> Subjects:
    lead = {"person": 1, "channel_id": "search", "lead_id": "9", "lead_on": DAY, "is_hashed": True}
    matches = [
        {"match_id": "0123456789abcdef", "is_delivered": True, "token": "erased-m1"},
        {"match_id": "fedcba9876543210", "is_delivered": False, "token": "erased-m2"},
    ]
    own = {"channel_id": "search", "lead_id": "9", "institution_id": "bank", "product_id": "loan"}
    values = [("phone", PHONE), ("id_number", NUMBER)]
    return Subjects(
        pa.Table.from_pylist([lead | {"token": "erased-l1"}], LEADS),
        pa.Table.from_pylist([own | {"matched_on": DAY} | each for each in matches], MATCHES),
        pa.Table.from_pylist([{"kind": k, "value": v, "is_own": True} for k, v in values], VALUES),
    )


def erase(settings: Settings, subjects: Subjects) -> dict[str, int]:
    """Erase the subjects from landing/; return path -> rows."""
    with connect(settings) as connection:
        create_leads_view(connection, settings)
        lines = find_lines(connection, settings, subjects)
    return {path: rows for path, rows, _, _ in erase_lines(settings, lines, subjects)}


def land(settings: Settings, name: str, content: bytes, feed: str = "leads/search") -> Path:
    path = settings.landing / feed / f"{DAY}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def as_csv(rows: list[dict[str, str]], tmp_path: Path) -> bytes:
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path.read_bytes()


def write_lake_lead(settings: Settings, file: str) -> None:
    """State in the lake from which file lead 9 came, as ingest does."""
    row = {"channel_id": "search", "lead_id": "9", "landed_on": DAY, "file": file}
    schema = pa.schema(
        [(name, pa.string()) for name in ("channel_id", "lead_id", "file")]
        + [("landed_on", pa.date32())]
    )
    path = settings.lake / "leads" / f"date={DAY}" / "leads.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([row], schema), path)


@pytest.mark.parametrize("name", ["leads.csv", "leads.csv.gz"])
def test_lines_of_a_csv_are_emptied(settings, subjects, tmp_path, name):
    content = as_csv([*ROWS, row("9")], tmp_path)
    path = land(settings, name, gzip.compress(content) if name.endswith("gz") else content)
    write_lake_lead(settings, name)
    assert erase(settings, subjects) == {f"leads/search/{DAY}/{name}": 3}
    text = path.read_bytes()
    lines = (gzip.decompress(text) if name.endswith("gz") else text).decode().split("\n")
    before = content.decode().split("\n")
    assert [n for n in range(len(before)) if lines[n] != before[n]] == [1, 2, 4, 6]
    assert all(not lines[n] for n in (1, 2, 4, 6))


def test_lines_of_json_and_rows_of_parquet_are_emptied(settings, subjects):
    lines = [json.dumps(row) for row in ROWS]
    text = land(settings, "leads.jsonl", "\n".join(lines).encode())
    table = land(settings, "leads.parquet", b"")
    pq.write_table(pa.Table.from_pylist(ROWS), table)
    write_lake_lead(settings, "leads.parquet")
    erase(settings, subjects)
    # a phone with hyphens and a number with spaces are found where the lake names the file
    rows = pq.read_table(table, partitioning=None).to_pylist()
    assert [each["lead_id"] for each in rows] == [None, "8", None, "10"]
    assert text.read_text("utf-8").split("\n") == lines


def test_a_file_that_no_run_reads_is_searched_by_word(settings, subjects):
    rest = f"a note about {NUMBER}\nand 13800138000 as well\nnobody\n".encode()
    paths = [
        land(settings, "leads.csv.bak", rest),
        land(settings, "leads.csv.part", rest),
        land(settings, "half.csv.gz", gzip.compress(rest * 200)[:-20]),
        land(settings, "x.bin", rest, feed="misplaced"),
    ]
    erase(settings, subjects)
    for path in paths:
        data = path.read_bytes()
        text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        assert b"nobody" in text
        assert NUMBER.encode() not in text
        assert b"13800138000" not in text


def test_the_outcome_of_a_delivered_match_is_billed_without_the_person(settings, subjects):
    rows = [
        "match_id,lead_id,channel_id,event,amount,reason,remark",
        '0123456789abcdef,,,approved,100,"told by Ann, again",Ann',  # words: keep - free text
        "fedcba9876543210,,,approved,200,,",
        "0123456789abcdef,9,search,returned,,wrong_number,",
        "00000000000000aa,,,approved,300,,",
    ]
    path = land(settings, "outcomes.csv", "\n".join(rows).encode(), feed="outcomes/bank")
    erase(settings, subjects)
    assert path.read_text("utf-8").split("\n") == [
        rows[0],
        "erased-m1,,,approved,100,,",
        "",
        "erased-m1,erased-l1,search,returned,,wrong_number,",
        rows[4],
    ]


def test_an_order_stays_as_a_hash_and_goes_where_it_names_the_lead(settings, subjects):
    content = "subject_type,subject,reason\nlead,search/9,erasure\nphone,00ff,erasure\n"
    path = land(settings, "orders.csv", content.encode(), feed="suppressions/partner")
    erase(settings, subjects)
    assert path.read_text("utf-8") == "subject_type,subject,reason\n\nphone,00ff,erasure\n"


def test_an_emptied_file_is_still_what_was_received(settings, subjects, tmp_path):
    path = land(settings, "leads.csv", as_csv(ROWS, tmp_path))
    before, modified = sha256(path), path.stat().st_mtime_ns
    write_lake_lead(settings, "leads.csv")
    erase(settings, subjects)
    (file,) = list_landed_files(settings, DAY)
    assert (file.sha256, file.stored_sha256) == (before, sha256(path))
    assert path.stat().st_mtime_ns == modified
    assert erase(settings, subjects) == {}
    assert read_changed_landings(settings.home)[file.path].received == before
