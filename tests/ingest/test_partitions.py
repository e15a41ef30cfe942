"""A partition is sorted by its key within the memory of a sort, and on disk beyond it."""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import load
from pipelines.core.database import connect, find_spill_folder, lower_limits
from pipelines.core.settings import Settings
from pipelines.ingest import partitions
from tests.helpers.landing import DAY

ROWS = 900_000
LIMITS = "select current_setting('memory_limit'), current_setting('threads')"


def write_shard(folder, contract):
    """Write the accepted rows of a shard, in no order, and drop one in ten."""
    folder.mkdir()
    key = {name: f"repeat(md5(hash(i, {n})::varchar), 5)" for n, name in enumerate(contract.key)}
    key |= {"month": "'2026-01'", "recorded_at": "timestamptz '2026-01-31 00:00:00+00'"}
    columns = [f"{key.get(field.name, 'null')} as {field.name}" for field in contract.lake_schema]
    columns += ["i as row", f"date '{DAY}' as known_on"]
    made = duckdb.sql(f"select {', '.join(columns)} from range({ROWS}) as t(i)")
    made.write_parquet(f"{folder}/rows.parquet")
    dropped = f"select i as row from range(0, {ROWS}, 10) as t(i)"
    duckdb.sql(dropped).write_parquet(f"{folder}/dropped.parquet")


def test_a_partition_larger_than_its_memory_is_sorted_on_disk(tmp_path):
    contract = load("supply_links")
    shard = tmp_path / "shard"
    write_shard(shard, contract)
    with connect(Settings(home=tmp_path, threads=16)) as connection:
        lower_limits(connection, memory="400MB", threads=partitions.SORT_THREADS)
        spill = find_spill_folder(connection)
        batches = partitions._lake_batches(connection, contract, f"{DAY}", [shard])
        first = next(batches)
        assert any(spill.iterdir()), "the sort needed no disk"
        found = pa.Table.from_batches([first, *batches])
    first_of_key = found[contract.key[0]]
    assert len(first_of_key) == ROWS * 9 // 10
    assert pc.all(pc.greater(first_of_key[1:], first_of_key[:-1])).as_py()


def test_limits_are_lowered_and_never_raised(tmp_path):
    with connect(Settings(home=tmp_path, threads=1, memory_limit="512MB")) as connection:
        own = connection.sql(LIMITS).fetchall()
        lower_limits(connection, memory="800MB", threads=2)
        assert connection.sql(LIMITS).fetchall() == own
        lower_limits(connection, memory="256MB", threads=1)
        assert connection.sql(LIMITS).fetchall() == [("244.1 MiB", 1)]
