"""A lead file reads back unchanged in a program, a spreadsheet and a dialler."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.deliveries import lead_file


def round_trip(tmp_path: Path, *texts: str | None) -> tuple[list[str], list[str | None]]:
    """Return a column as the `csv` module reads it from the file, and as `read` does."""
    path = tmp_path / "leads.csv"
    table = pa.table({"match_id": [f"m{n}" for n in range(len(texts))], "text": list(texts)})
    lead_file.write(table, path)
    with path.open(newline="", encoding="utf-8") as file:
        plain = [row["text"] for row in csv.DictReader(file)]
    return plain, lead_file.read(path)["text"].to_pylist()


@pytest.mark.parametrize(
    "text",
    ['He said "no", then left', "two\nlines", "a,b", "张三", "", " spaces ", "it's", "NaN", "null"],
)
def test_any_text_reads_back(tmp_path, text):
    assert round_trip(tmp_path, text) == ([text], [text])


def test_a_missing_value_is_empty_and_an_empty_text_is_quoted(tmp_path):
    assert round_trip(tmp_path, None, "") == (["", ""], [None, ""])


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1"]
)
def test_a_formula_gets_an_apostrophe(tmp_path, text):
    assert round_trip(tmp_path, text) == ([f"'{text}"], [text])


def test_a_phone_number_gets_no_apostrophe(tmp_path):
    assert round_trip(tmp_path, "+8613800138000") == (["+8613800138000"], ["+8613800138000"])


def test_a_negative_number_gets_no_apostrophe(tmp_path):
    path = tmp_path / "leads.csv"
    lead_file.write(pa.table({"match_id": ["m"], "amount": [-5.5]}), path)
    assert path.read_text().splitlines()[1] == '"m",-5.5'


def test_times_dates_lists_and_booleans_follow_the_contract(tmp_path):
    path = tmp_path / "leads.csv"
    table = pa.table(
        {
            "at": pa.array([datetime(2026, 11, 20, 4, 30, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "on": [date(1990, 2, 1)],
            "scope": [["bank-1", "bank-2"]],
            "is_new": [True],
            "amount": [1234567.5],
        }
    )
    lead_file.write(table, path)
    line = path.read_text().splitlines()[1]
    assert line == '"2026-11-20T04:30:00Z",1990-02-01,"bank-1|bank-2",true,1234567.5'


def test_an_empty_file_has_its_header(tmp_path):
    path = tmp_path / "leads.csv"
    lead_file.write(pa.table({"match_id": pa.array([], pa.string())}), path)
    assert path.read_text() == '"match_id"\n'
    assert lead_file.read(path).num_rows == 0


def test_a_formula_in_parquet_gets_no_apostrophe(tmp_path):
    path = tmp_path / "leads.parquet"
    lead_file.write(pa.table({"text": ["=1+1"]}), path)
    assert lead_file.read(path)["text"].to_pylist() == ["=1+1"]


@pytest.mark.parametrize("name", ["leads.csv", "leads.parquet"])
@pytest.mark.parametrize("ids", [["m"], []])
def test_a_file_states_the_version_of_its_contract(tmp_path, name, ids):
    path = tmp_path / name
    lead_file.write(pa.table({"match_id": pa.array(ids, pa.string())}), path, schema_version=7)
    table = lead_file.read(path)
    assert table.column_names == ["match_id", "schema_version"]
    assert [f"{value}" for value in table["schema_version"].to_pylist()] == ["7"] * len(ids)
    if name.endswith("parquet"):
        assert pq.read_schema(path).metadata[b"schema_version"] == b"7"


def test_times_are_to_the_second_and_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "leads.csv"
    moment = datetime(2026, 3, 2, 9, 30, 15, 654_321, tzinfo=UTC)
    lead_file.write(pa.table({"at": [moment], "name": ["陈"]}), path, bom=True)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert lead_file.read(path).to_pylist() == [{"at": "2026-03-02T09:30:15Z", "name": "陈"}]
