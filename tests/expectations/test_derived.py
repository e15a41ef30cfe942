"""The files derived from the contracts are up to date and complete."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from expectations.contracts import contracts, feeds, load
from expectations.dbt_files import FIRST_LINE, LAST_LINE, MARTS
from expectations.derive import ROOT, derive_files, main
from expectations.dictionary import render_dictionary
from expectations.outbound_contracts import derive_outbound_files
from pipelines.core.publishing import write_parquet
from tests.expectations.diff import diff_schema, diff_text

DERIVED = derive_files()
DERIVED_LINES = re.compile(f"(?<={FIRST_LINE}).*?(?={LAST_LINE})", re.DOTALL)


def test_eight_files_are_derived_from_ten_contracts():
    outbound = derive_outbound_files()
    assert outbound.keys() < DERIVED.keys()
    assert len(DERIVED) - len(outbound) == 8
    assert len(feeds()) == 10


@pytest.mark.parametrize("name", DERIVED)
def test_a_derived_file_on_disk_is_up_to_date(name):
    drift = diff_text(name, (ROOT / name).read_text("utf-8"), DERIVED[name])
    assert not drift, f"run `python -m expectations.derive`:\n{drift}"


def test_deriving_again_writes_the_same_bytes(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("expectations.derive.ROOT", tmp_path)
    for name in MARTS:  # only some of their lines are derived
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(re.sub(DERIVED_LINES, "", (ROOT / name).read_text("utf-8")))
    main()
    main()
    for name, text in DERIVED.items():
        assert (tmp_path / name).read_text("utf-8") == text
    assert capsys.readouterr().out.count(": written") == len(DERIVED)


def test_drift_names_the_file_and_the_lines_that_differ():
    drift = diff_text("a.yml", "one\ntwo\n", "one\nthree\n")
    assert "a.yml on disk" in drift
    assert "-two\n+three\n" in drift


@pytest.mark.parametrize("feed", feeds())
def test_dbt_knows_the_columns_of_the_lake_and_their_types(feed, connection, tmp_path):
    """The types are compared with the types that DuckDB reads from a lake file."""
    contract = load(feed)
    write_parquet(contract.lake_schema.empty_table(), tmp_path / "lake.parquet")
    described = connection.sql(f"describe select * from '{tmp_path}/lake.parquet'").fetchall()
    actual = {name: _plain(kind) for name, kind, *_ in described}
    table = next(table for table in _dbt_tables() if table["name"] == feed)
    documented = {column["name"]: column["data_type"] for column in table["columns"]}
    assert documented == actual | ({"date": "date"} if "date" not in actual else {})


@pytest.mark.parametrize("feed", feeds())
def test_a_lake_file_with_the_columns_of_its_contract_shows_no_drift(feed, tmp_path):
    write_parquet(load(feed).lake_schema.empty_table(), tmp_path / "lake.parquet")
    assert diff_schema(load(feed), tmp_path / "lake.parquet") == ""


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda schema: schema.remove(0), "+channel_id: string"),
        (lambda schema: schema.append(pa.field("surprise", pa.int8())), "-surprise: int8"),
        (
            lambda schema: schema.set(2, pa.field("captured_at", pa.timestamp("us"))),
            "+captured_at: timestamp[us, tz=UTC]",
        ),
    ],
    ids=["column missing", "column too many", "time zone lost"],
)
def test_schema_drift_is_reported_by_column(change, line, tmp_path):
    path = tmp_path / "lake.parquet"
    pq.write_table(change(load("leads").lake_schema).empty_table(), path)
    assert line in diff_schema(load("leads"), path)


def test_the_dictionary_names_every_column_with_its_type():
    text = render_dictionary(contracts())
    for contract in contracts():
        section = text.split(f"\n## {contract.feed}\n")[1].split("\n## ")[0]
        for column in (*contract.columns, *contract.derived):
            assert f"| `{column.name}` | {column.type} |" in section


def test_the_dictionary_marks_every_personal_and_protected_column():
    text = render_dictionary(contracts())
    marked = [column for contract in contracts() for column in contract.columns if column.personal]
    assert marked
    assert text.count("**Personal.**") == len(marked)
    assert text.count("**Protected.**") == 2  # gender and ethnicity of a lead


def _dbt_tables():
    text = DERIVED["dbt_project/staging/_sources.yml"]
    return yaml.safe_load(text)["sources"][0]["tables"]


def _plain(duckdb_type):
    return duckdb_type.lower().replace("timestamp with time zone", "timestamptz")
