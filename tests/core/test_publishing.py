"""Publishing is atomic, and equal content gives equal bytes."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import __version__
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import (
    code_version,
    hash_inputs,
    publishing,
    read_manifest,
    restore,
    sha256,
    write_behind,
    write_parquet,
)

TABLE = pa.table({"lead_id": ["a", "b", "c"], "amount": [1.0, 2.0, None]})


def publish(folder, table=TABLE, **facts):
    with publishing(folder, facts) as fresh:
        write_parquet(table, fresh / "table.parquet")


def publish_half(folder):
    with publishing(folder, {}) as fresh:
        (fresh / "half.parquet").write_text("half")
        raise OSError("disk full")


@pytest.mark.parametrize(
    "same",
    [
        pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]),
        pa.Table.from_batches(TABLE.to_batches(max_chunksize=1)),
    ],
)
def test_equal_tables_give_equal_bytes_with_different_chunks(same, tmp_path):
    write_parquet(TABLE, tmp_path / "one.parquet")
    write_parquet(same, tmp_path / "other.parquet")
    assert sha256(tmp_path / "one.parquet") == sha256(tmp_path / "other.parquet")


def test_a_file_that_is_written_behind_has_the_bytes_of_a_plain_one(tmp_path):
    parts = [TABLE.slice(row, 1) for row in range(3)]
    with pq.ParquetWriter(tmp_path / "plain.parquet", TABLE.schema) as writer:
        for part in parts:
            writer.write_table(part)
    with (
        pq.ParquetWriter(tmp_path / "behind.parquet", TABLE.schema) as writer,
        write_behind(writer) as write,
    ):
        for part in parts:
            write(part)
    assert sha256(tmp_path / "plain.parquet") == sha256(tmp_path / "behind.parquet")


def write_groups(path, groups):
    """Write groups of another schema than the file's."""
    with (
        pq.ParquetWriter(path, pa.schema({"x": pa.int64()})) as writer,
        write_behind(writer) as write,
    ):
        for _ in range(groups):
            write(TABLE)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_row_group_that_cannot_be_written_behind_is_an_error(tmp_path, groups):
    with pytest.raises(ValueError, match="schema"):
        write_groups(tmp_path / "other.parquet", groups)


def test_every_empty_table_of_a_schema_gives_equal_bytes(tmp_path):
    write_parquet(TABLE.slice(0, 0), tmp_path / "one.parquet")
    write_parquet(pa.Table.from_batches([], schema=TABLE.schema), tmp_path / "other.parquet")
    assert sha256(tmp_path / "one.parquet") == sha256(tmp_path / "other.parquet")


def test_a_manifest_has_files_rows_and_facts_but_no_clock_and_no_path(tmp_path):
    publish(tmp_path / "one" / "matches", policy="p1")
    publish(tmp_path / "other" / "matches", policy="p1")
    manifest = read_manifest(tmp_path / "one" / "matches")
    assert manifest["rows"] == manifest["files"]["table.parquet"]["rows"] == 3
    assert manifest["policy"] == "p1"
    assert manifest == read_manifest(tmp_path / "other" / "matches")
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_failed_step_leaves_the_published_folder_unchanged(tmp_path):
    publish(tmp_path / "matches", policy="before")
    with pytest.raises(OSError, match="disk full"):
        publish_half(tmp_path / "matches")
    assert read_manifest(tmp_path / "matches")["policy"] == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["matches"]


def test_restore_undoes_a_run_that_was_killed_between_the_two_renames(tmp_path):
    publish(tmp_path / "matches", policy="before")
    (tmp_path / "matches").rename(tmp_path / ".matches.previous")
    restore(tmp_path / "matches")
    assert read_manifest(tmp_path / "matches")["policy"] == "before"
    assert not (tmp_path / ".matches.previous").exists()


def test_a_replaced_folder_has_no_file_of_the_earlier_one(tmp_path):
    publish(tmp_path / "matches")
    with publishing(tmp_path / "matches", {}) as fresh:
        (fresh / "other.txt").write_text("other")
    assert set(read_manifest(tmp_path / "matches")["files"]) == {"other.txt"}
    assert not (tmp_path / "matches" / "table.parquet").exists()


def test_inputs_are_recorded_by_the_hash_of_their_content(tmp_path):
    publish(tmp_path / "marts" / "date=2026-03-05")
    inputs = hash_inputs(tmp_path / "marts" / "date=2026-03-05", home=tmp_path)
    content = read_manifest(tmp_path / "marts" / "date=2026-03-05")["content_sha256"]
    assert inputs == {"marts/date=2026-03-05": content}


def test_a_missing_manifest_names_the_folder_and_the_step_to_run(tmp_path):
    with pytest.raises(
        InputMissing, match=r"marts/date=2026-03-05 is not published.*pipelines run"
    ):
        read_manifest(tmp_path / "marts" / "date=2026-03-05")


def test_a_manifest_states_the_versions_of_code_and_package(tmp_path):
    publish(tmp_path / "matches")
    manifest = read_manifest(tmp_path / "matches")
    assert manifest["code_version"] == code_version()
    assert manifest["package_version"] == __version__
