"""A lead file is read back as it was meant, by a program, a spreadsheet and a dialler."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.deliveries import lead_file as delivery_file


def written(tmp_path: Path, *texts: str | None) -> tuple[list[str], list[str | None]]:
    """Return a column as the standard library reads it from the CSV, and as we read it back."""
    path = tmp_path / "leads.csv"
    table = pa.table({"match_id": [f"m{n}" for n in range(len(texts))], "text": list(texts)})
    delivery_file.write(table, path)
    with path.open(newline="", encoding="utf-8") as file:
        plain = [row["text"] for row in csv.DictReader(file)]
    return plain, delivery_file.read(path)["text"].to_pylist()


@pytest.mark.parametrize(
    "text",
    ['He said "no", then left', "two\nlines", "a,b", "张三", "", " spaces ", "it's", "NaN", "null"],
)
def test_any_text_survives(tmp_path, text):
    assert written(tmp_path, text) == ([text], [text])


def test_a_missing_value_is_empty_and_an_empty_text_is_quoted(tmp_path):
    assert written(tmp_path, None, "") == (["", ""], [None, ""])


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1"]
)
def test_a_text_that_a_spreadsheet_would_run_is_shown_as_text(tmp_path, text):
    assert written(tmp_path, text) == ([f"'{text}"], [text])


def test_a_phone_stays_as_a_dialler_needs_it(tmp_path):
    assert written(tmp_path, "+8613800138000") == (["+8613800138000"], ["+8613800138000"])


def test_negative_numbers_are_no_formula(tmp_path):
    path = tmp_path / "leads.csv"
    delivery_file.write(pa.table({"match_id": ["m"], "amount": [-5.5]}), path)
    assert path.read_text().splitlines()[1] == '"m",-5.5'


def test_times_dates_lists_and_truths_are_written_as_the_contract_says(tmp_path):
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
    delivery_file.write(table, path)
    line = path.read_text().splitlines()[1]
    assert line == '"2026-11-20T04:30:00.000000Z",1990-02-01,"bank-1|bank-2",true,1234567.5'


def test_an_empty_file_still_has_its_header(tmp_path):
    path = tmp_path / "leads.csv"
    delivery_file.write(pa.table({"match_id": pa.array([], pa.string())}), path)
    assert path.read_text() == '"match_id"\n'
    assert delivery_file.read(path).num_rows == 0


def test_a_formula_in_parquet_needs_no_apostrophe(tmp_path):
    path = tmp_path / "leads.parquet"
    delivery_file.write(pa.table({"text": ["=1+1"]}), path)
    assert delivery_file.read(path)["text"].to_pylist() == ["=1+1"]
