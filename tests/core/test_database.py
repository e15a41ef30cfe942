"""Guarantees of a connection: row order, time zone, and an empty spill folder at the end."""

import pyarrow as pa

from pipelines.core import database
from pipelines.core.database import connect, spill_tables
from pipelines.core.settings import Settings


def test_a_filter_by_a_long_list_keeps_the_order_of_rows(tmp_path):
    parts = [pa.table({"row": range(first, first + 50)}) for first in range(0, 150, 50)]
    received = pa.concat_tables(parts)
    with connect(Settings(home=tmp_path, threads=2)) as connection:
        connection.register("received", received)
        for _ in range(200):  # with a hash join more than half of the runs changed the order
            rows = connection.sql("select row, row % 11 in (1, 2, 3, 4, 5, 6, 7) from received")
            assert rows.to_arrow_table()["row"].to_pylist() == list(range(150))


def test_times_are_shown_in_utc_in_every_time_zone_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with connect(Settings(home=tmp_path)) as connection:
        sql = "select cast(timestamptz '2026-03-05 00:00:00+08' as text)"
        rows = connection.sql(sql).fetchall()
    assert rows == [("2026-03-04 16:00:00+00",)]


def test_the_spill_folder_is_removed_when_the_connection_closes(tmp_path):
    with connect(Settings(home=tmp_path)):
        assert list(tmp_path.glob(".spill-*"))
    assert not list(tmp_path.iterdir())


def test_the_spill_folder_that_a_killed_process_left_is_removed_and_no_other(tmp_path):
    settings = Settings(home=tmp_path)
    with connect(settings):
        (held,) = tmp_path.glob(".spill-*")
        left = tmp_path / ".spill-left"
        left.mkdir()
        (left / "duckdb_temp_block-1.block").write_bytes(b"rows")
        with connect(settings):
            assert held.is_dir()
            assert not left.exists()


def test_tables_are_moved_to_the_spill_folder_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "TABLES_IN_MEMORY", "20MB")
    with connect(Settings(home=tmp_path, memory_limit="500MB")) as connection:
        numbers = connection.sql("select i, hash(i) as h from range(4000000) as t(i)")
        numbers.create("numbers")
        used = "select sum(memory_usage_bytes), sum(temporary_storage_bytes) from duckdb_memory()"
        expected = connection.sql("select sum(i), bit_xor(h) from numbers").fetchall()
        ((before, on_disk),) = connection.sql(used).fetchall()
        assert (before > 50_000_000, on_disk) == (True, 0)
        spill_tables(connection)
        ((after, on_disk),) = connection.sql(used).fetchall()
        assert after <= 20_000_000 < on_disk
        ((limit,),) = connection.sql("select current_setting('memory_limit')").fetchall()
        assert limit.startswith("476.")  # MiB
        assert connection.sql("select sum(i), bit_xor(h) from numbers").fetchall() == expected


def test_what_cannot_be_moved_stays_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "TABLES_IN_MEMORY", "1KB")
    with connect(Settings(home=tmp_path, memory_limit="500MB")) as connection:
        connection.execute("create table numbers as from range(1000000)")
        relation = connection.sql("from numbers order by all")
        spill_tables(connection)
        assert relation.to_arrow_table().num_rows == 1_000_000
