"""What every query of the project may rely on, whatever the number of threads."""

import pyarrow as pa

from pipelines.core.database import connect
from pipelines.core.settings import Settings


def test_a_long_list_of_values_leaves_the_rows_of_a_scan_in_their_order(tmp_path):
    parts = [pa.table({"row": range(first, first + 50)}) for first in range(0, 150, 50)]
    received = pa.concat_tables(parts)
    with connect(Settings(home=tmp_path, threads=2)) as connection:
        connection.register("received", received)
        for _ in range(200):  # as a hash join more than half of them came out of order
            found = connection.sql("select row, row % 11 in (1, 2, 3, 4, 5, 6, 7) from received")
            assert found.to_arrow_table()["row"].to_pylist() == list(range(150))


def test_times_are_told_in_utc_wherever_the_machine_stands(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with connect(Settings(home=tmp_path)) as connection:
        sql = "select cast(timestamptz '2026-03-05 00:00:00+08' as text)"
        told = connection.sql(sql).fetchall()
    assert told == [("2026-03-04 16:00:00+00",)]


def test_what_spilled_is_gone_when_the_connection_closes(tmp_path):
    with connect(Settings(home=tmp_path)):
        assert list(tmp_path.glob(".spill-*"))
    assert not list(tmp_path.iterdir())
