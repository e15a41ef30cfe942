"""Write a feed's rows to landing files, one for each source and date, as a stream."""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from expectations import contracts
from pipelines.core.arrays import BoolArray
from pipelines.importing.mapping_sql import quote

BATCH = 200_000
PLAIN = pc.WriteOptions(quoting_style="needed")
Landed = tuple[str, date]


def write_feed(
    connection: duckdb.DuckDBPyConnection, feed: str, landing: Path, name: str
) -> dict[str, object]:
    """Write the table of `feed` below `landing`; rows are in the order of their values.

    Args:
        connection: Where the table called `feed` holds `source`, `landed` and the columns of the
            contract, all text.
        feed: The feed.
        landing: The folder of all feeds.
        name: File name in each SOURCE/DATE folder; a file of that name is replaced.

    Returns:
        `rows`, `files`, `sources`, and the `first` and `last` date.
    """
    columns = [
        column for column in contracts.load(feed).names if _is_filled(connection, feed, column)
    ]
    listed = ", ".join(map(quote, columns))
    reader = connection.sql(
        f"select source, landed, {listed} from {quote(feed)} order by source, landed, {listed}"
    ).to_arrow_reader(BATCH)
    written: dict[Landed, int] = {}
    open_file: _Landing | None = None
    for where, rows in _runs(reader):
        if open_file is None or open_file.where != where:
            if open_file:
                open_file.finish()
            source, day = where
            open_file = _Landing(where, landing / feed / source / f"{day:%Y-%m-%d}" / name, rows)
        open_file.add(rows)
        written[where] = written.get(where, 0) + rows.num_rows
    if open_file:
        open_file.finish()
    days = [day for _, day in written]
    return {
        "rows": sum(written.values()),
        "files": len(written),
        "sources": len({source for source, _ in written}),
        "first": str(min(days)) if days else None,
        "last": str(max(days)) if days else None,
    }


class _Landing:
    """One landing file while it is written: beside, then renamed."""

    def __init__(self, where: Landed, path: Path, rows: pa.Table):
        self.where = where
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._part = path.with_name(f"{path.name}.part")
        self._writer = pc.CSVWriter(self._part, rows.schema, write_options=PLAIN)

    def add(self, rows: pa.Table) -> None:
        self._writer.write(rows)

    def finish(self) -> None:
        self._writer.close()
        self._part.replace(self._path)


def _runs(reader: pa.RecordBatchReader) -> Iterator[tuple[Landed, pa.RecordBatch]]:
    """Split a stream that is sorted by source and date where either changes."""
    for batch in reader:
        sources, days = batch.column("source"), batch.column("landed")
        content = batch.select(batch.schema.names[2:])
        changed = np.flatnonzero(_changes(sources) | _changes(days)) + 1
        edges = [0, *changed.tolist(), batch.num_rows]
        for start, end in pairwise(edges):
            if end > start:
                where = sources[start].as_py(), days[start].as_py()
                yield where, content.slice(start, end - start)


def _changes(values: pa.Array) -> BoolArray:
    coded = values.dictionary_encode().indices.to_numpy()
    return np.asarray(coded[1:] != coded[:-1])


def _is_filled(connection: duckdb.DuckDBPyConnection, feed: str, column: str) -> bool:
    """Columns that no row fills are left out, but for those that every file must have."""
    if contracts.load(feed)[column].required:
        return True
    found = connection.execute(
        f"select 1 from {quote(feed)} where {quote(column)} is not null limit 1"
    ).fetchall()
    return bool(found)
