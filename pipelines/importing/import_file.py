"""Import one foreign file: read it, split its rows by feed, write the feed files."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from expectations import contracts, mapping
from expectations.mapping import LoadedMapping, MappingError
from pipelines.core.arrays import BoolArray
from pipelines.core.data_provenance import (
    find_free_name,
    is_recorded,
    record_provenance,
    register_history,
)
from pipelines.core.database import connect
from pipelines.core.errors import ImportRejected, IntegrityError, UsageError
from pipelines.core.publishing import publishing, sha256, write_parquet
from pipelines.core.settings import Settings
from pipelines.importing.land_files import StagedFile, land_files, plan_landing
from pipelines.importing.mapping_sql import literal, quote
from pipelines.importing.read_source import read_companion_tables, read_source
from pipelines.importing.split_by_feed import SOURCE, DateWindow, FeedSplitter
from pipelines.ingest.ledger import read_ledger

BATCH = 200_000
"""Rows that are written to landing files together."""

SourceDate = tuple[str, date]

USABLE = {
    "source": f"source: a name matches {SOURCE} (lower-case letters, digits, - and _; at most 64)",
    "date": "date, such as 2026-01-31",
}
"""Rule of a quarantined row -> what it lacks."""


def import_file(
    settings: Settings,
    mapping_name: str,
    file: Path,
    start: date | None = None,
    days: int | None = None,
    *,
    as_correction: bool = False,
) -> dict[str, Any]:
    """Write the rows of `file` as feed files under `landing/`, by the mapping.

    The same file, mapping and dates give the same bytes in the same files; a repeated import
    changes nothing. No landed file is changed, and none is added to a closed date unless
    `as_correction` asks for it. A value that the
    mapping can't convert is passed on unchanged, so that ingest checks it by the contract. A row
    that can't be read, or has no valid source or date for a feed, is quarantined with its reason
    under `quarantine/import/`.

    Args:
        settings: Settings of the home.
        mapping_name: A name in `expectations/mappings/`, or a path that ends in .yml.
        file: The foreign file; compressed if its name ends in .gz.
        start: First landing date to write; None: every date. Reference catalogues, whose date
            is a constant of the mapping, are always written.
        days: Dates from `start` on; None: no end.
        as_correction: True to land what belongs to closed dates, or has the name of a landed file,
            as files of other names; their rows count from the next date on.

    Returns:
        `mapping`, `file`, `file_sha256`, `beside` (the companion tables of the mapping, each
        with its `file`, `file_sha256` and `rows`, or None where the file is missing), `read` (rows
        of the file), `unreadable` (of them), `feeds` (feed -> rows `received`, `written`,
        `outside` the dates, `merged`, `quarantined`; `files`, `sources`, `first` and `last`
        date), `quarantined` (rows by reason), `quarantine_folder`, and `landed`: the number of
        files that are `new`, `unchanged` (landed before) and `corrections`.

    Raises:
        UsageError: No such mapping or file, or `days` without `start`.
        ImportRejected: The file does not fit the mapping, or the mapping is wrong; too few rows are
            usable; or a landed file or a closed date would change. Nothing was landed.
    """
    loaded = _load_mapping(mapping_name)
    window = _make_window(start, days)
    if not file.is_file():
        raise UsageError(f"there is no file {file}; nothing was imported")
    with (
        open_workspace(settings) as connection,
        tempfile.TemporaryDirectory(prefix=".import-", dir=settings.home) as folder,
    ):
        names = read_source(connection, file, loaded.mapping.file)
        result = _count_rows(settings, connection, file)
        result["beside"] = read_companion_tables(connection, file, loaded.mapping.beside)
        feeds = split_by_feed(FeedSplitter(connection, loaded, names, window))
        result |= {"mapping": loaded.name, "feeds": feeds}
        result |= _publish_quarantine(settings, connection, loaded, result)
        _check_accepted(settings, loaded, result)
        staged = Path(folder)
        stem = re.sub(r"[^a-z0-9]+", "-", file.name.split(".")[0].lower()).strip("-")
        for feed, counts in feeds.items():
            counts.update(_write_feed(connection, feed, staged, f"{loaded.name}-{stem}.csv"))
            _check_counts(feed, counts)
        files = plan_landing(settings, staged, as_correction=as_correction)
        _record_import(settings, loaded, result, window, files)
        land_files(files)
    return result | {"landed": _count_landed(files)}


def _count_landed(files: Sequence[StagedFile]) -> dict[str, int]:
    new = [file for file in files if not file.is_landed]
    corrections = sum(file.target.name != file.path.name for file in new)
    return {
        "new": len(new) - corrections,
        "unchanged": len(files) - len(new),
        "corrections": corrections,
    }


def _check_accepted(settings: Settings, loaded: LoadedMapping, result: dict[str, Any]) -> None:
    """Refuse an import of which no row, or too small a share of a feed's rows, is usable."""
    evidence = f"{settings.home / result['quarantine_folder'] / 'quarantine.parquet'} has the rows"
    for feed, counts in result["feeds"].items():
        if counts["quarantined"] > settings.max_reject_share * counts["received"]:
            reasons = {
                name.partition(": ")[2]: number
                for name, number in result["quarantined"].items()
                if name.startswith(f"{feed}: ")
            }
            listed = "; ".join(
                f"{number:,} have no usable {USABLE[rule]}" for rule, number in reasons.items()
            )
            raise ImportRejected(
                f"{result['file']}: {counts['quarantined']:,} of {counts['received']:,} rows for "
                f"{feed} can't be landed; the limit is {settings.max_reject_share:.0%} "
                f"(BANYAN_MAX_REJECT_SHARE). {listed}. Nothing was landed; {evidence}. Correct "
                f"`source` and `date` of the route in the mapping {loaded.name}."
            )
    dated = {route.feed for route in loaded.mapping.routes if not route.date.is_constant}
    counted = [result["feeds"][feed] for feed in dated or result["feeds"]]
    if not sum(counts["written"] for counts in counted):
        outside = sum(counts["outside"] for counts in counted)
        cause = (
            f"{outside:,} lie outside of the dates of --start and --days"
            if outside
            else "no row meets the condition `where` of a route"
        )
        raise ImportRejected(
            f"{result['file']}: none of its {result['read']:,} rows was accepted; {cause}. Nothing "
            f"was landed; {evidence} that can't be read. Correct the options, or the mapping "
            f"{loaded.name}."
        )


@contextmanager
def open_workspace(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection whose tables are in a file that is removed at the end.

    Tables on disk are compressed and leave memory to the queries.
    """
    with (
        connect(settings) as connection,
        tempfile.TemporaryDirectory(prefix=".import-", dir=settings.home) as workspace,
    ):
        connection.execute(f"attach {literal(f'{workspace}/tables.duckdb')} as tables")
        connection.execute("use tables")
        yield connection


def _load_mapping(name: str) -> LoadedMapping:
    try:
        return mapping.load(name)
    except MappingError as error:
        raise ImportRejected(
            f"{error}\nNothing was read or written. Correct the mapping."
        ) from None


def _make_window(start: date | None, days: int | None) -> DateWindow:
    if days is not None and (start is None or days < 1):
        raise UsageError("--days needs --start, and is at least 1; nothing was imported")
    last = start + timedelta(days - 1) if start and days else None
    return DateWindow(str(start) if start else None, str(last) if last else None)


def _count_rows(
    settings: Settings, connection: duckdb.DuckDBPyConnection, file: Path
) -> dict[str, Any]:
    """Count the rows of the file; too large a share of unreadable ones rejects it."""
    readable, unreadable = (
        connection.table(table).shape[0] for table in ("received", "unreadable")
    )
    total = readable + unreadable
    if unreadable > settings.max_reject_share * total:
        rule, message, times = connection.execute(
            "select rule, message, count(*) as n from unreadable group by all"
            " order by n desc, rule, message"
        ).fetchall()[0]
        raise ImportRejected(
            f"{file.name}: {unreadable:,} of {total:,} rows can't be read; the limit is "
            f"{settings.max_reject_share:.0%} (BANYAN_MAX_REJECT_SHARE). The most frequent reason "
            f"({times:,} times) is {rule}: {message}. Nothing was written. Correct `file` in the "
            "mapping (encoding, delimiter, skip_lines), or ask for the file again."
        )
    return {
        "file": file.name,
        "file_sha256": sha256(file),
        "read": total,
        "unreadable": unreadable,
    }


def split_by_feed(splitter: FeedSplitter) -> dict[str, dict[str, Any]]:
    """Fill one table for each feed, and `quarantined`; return the counts of each feed."""
    splitter.prepare_rows()
    connection = splitter.connection
    connection.execute(
        "create table quarantined as"
        " select row_line, 'any' as feed, rule, message, received from unreadable"
    )
    feeds: dict[str, dict[str, Any]] = {}
    for number, route in enumerate(splitter.loaded.mapping.routes):
        columns = [f"{quote(name)} varchar" for name in contracts.load(route.feed).names]
        connection.execute(
            f"create table if not exists {quote(route.feed)}"
            f" (source varchar, landed date, {', '.join(columns)})"
        )
        counts = splitter.fill_route(number)
        total = feeds.setdefault(route.feed, dict.fromkeys(counts, 0))
        feeds[route.feed] = {name: total[name] + count for name, count in counts.items()}
    return feeds


def _check_counts(feed: str, counts: dict[str, Any]) -> None:
    total = sum(counts[name] for name in ("written", "outside", "merged", "quarantined"))
    if total != counts["received"] or counts["rows"] != counts["written"]:
        raise IntegrityError(f"import of {feed} lost or repeated rows: {counts}")


def _write_feed(
    connection: duckdb.DuckDBPyConnection,
    feed: str,
    folder: Path,
    name: str,
) -> dict[str, object]:
    """Write the table of `feed` to files, one for each source and date, as a stream.

    Args:
        connection: Has the table `feed` with `source`, `landed` and the columns of the contract.
        feed: The feed; its rows are written in the order of their values.
        folder: The folder of all feeds.
        name: File name in each SOURCE/DATE folder.

    Returns:
        `rows`, `files`, `sources`, and the `first` and `last` date.
    """
    columns = [
        column for column in contracts.load(feed).names if _is_used(connection, feed, column)
    ]
    names = ", ".join(map(quote, columns))
    reader = connection.sql(
        f"select source, landed, {names} from {quote(feed)} order by source, landed, {names}"
    ).to_arrow_reader(BATCH)
    written: dict[SourceDate, int] = {}
    file: _FeedFile | None = None
    for key, rows in _group_by_file(reader):
        if file is None or file.key != key:
            if file:
                file.finish()
            source, day = key
            file = _FeedFile(key, folder / feed / source / f"{day:%Y-%m-%d}" / name, rows)
        file.add(rows)
        written[key] = written.get(key, 0) + rows.num_rows
    if file:
        file.finish()
    days = [day for _, day in written]
    return {
        "rows": sum(written.values()),
        "files": len(written),
        "sources": len({source for source, _ in written}),
        "first": str(min(days)) if days else None,
        "last": str(max(days)) if days else None,
    }


class _FeedFile:
    """One file of a feed, source and date."""

    def __init__(self, key: SourceDate, path: Path, rows: pa.Table):
        self.key = key
        path.parent.mkdir(parents=True, exist_ok=True)
        options = pc.WriteOptions(quoting_style="needed")
        self._writer = pc.CSVWriter(path, rows.schema, write_options=options)

    def add(self, rows: pa.Table) -> None:
        self._writer.write(rows)

    def finish(self) -> None:
        self._writer.close()


def _group_by_file(reader: pa.RecordBatchReader) -> Iterator[tuple[SourceDate, pa.RecordBatch]]:
    """Split a stream that is sorted by source and date where either changes."""
    for batch in reader:
        sources, days = batch.column("source"), batch.column("landed")
        content = batch.select(batch.schema.names[2:])
        changes = np.flatnonzero(_find_changes(sources) | _find_changes(days)) + 1
        edges = [0, *changes.tolist(), batch.num_rows]
        for start, end in pairwise(edges):
            if end > start:
                key = sources[start].as_py(), days[start].as_py()
                yield key, content.slice(start, end - start)


def _find_changes(values: pa.Array) -> BoolArray:
    codes = values.dictionary_encode().indices.to_numpy()
    return np.asarray(codes[1:] != codes[:-1])


def _is_used(connection: duckdb.DuckDBPyConnection, feed: str, column: str) -> bool:
    """Return whether a column is written: a required one, or one with a value in any row."""
    if contracts.load(feed)[column].required:
        return True
    values = connection.execute(
        f"select 1 from {quote(feed)} where {quote(column)} is not null limit 1"
    ).fetchall()
    return bool(values)


def _publish_quarantine(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    loaded: LoadedMapping,
    result: dict[str, Any],
) -> dict[str, Any]:
    """Publish the quarantined rows, and return their number by reason."""
    table = connection.sql(
        "select feed, row_line as line, rule, message, received from quarantined order by all"
    ).to_arrow_table()
    folder = settings.quarantine / "import" / f"{loaded.name}-{result['file_sha256'][:12]}"
    facts = {name: result[name] for name in ("mapping", "file", "file_sha256")}
    with publishing(folder, facts) as fresh:
        write_parquet(table, fresh / "quarantine.parquet")
    reasons = connection.execute(
        "select feed || ': ' || rule, count(*) from quarantined group by all order by all"
    ).fetchall()
    relative = folder.relative_to(settings.home).as_posix()
    return {"quarantined": dict(reasons), "quarantine_folder": relative}


def _record_import(
    settings: Settings,
    loaded: LoadedMapping,
    result: dict[str, Any],
    window: DateWindow,
    files: Sequence[StagedFile],
) -> None:
    """Record the import and its files of outcomes, before they land.

    Without a new file nothing is recorded, so that closed days are computed again as they were.
    """
    open_files = [file for file in files if not (file.is_landed and file.is_closed)]
    if not open_files:
        return
    invented: dict[str, dict[str, str]] = {}
    for route in loaded.mapping.routes:
        invented.setdefault(route.feed, {}).update(route.invented)
    dates = f"{window.first or 'first'} to {window.last or 'last'}"
    facts = {
        "kind": "import",
        "mapping_sha256": loaded.sha256,
        "description": loaded.mapping.description,
        "origin": loaded.mapping.origin,
        "dates": dates,
        "invented": invented,
    }
    name = f"import {loaded.name} {result['file']} {dates}"
    if all(file.is_landed for file in files) and is_recorded(settings, name):
        return
    name = find_free_name(settings, name, facts | result, ("file_sha256", "mapping_sha256"))
    history = [file.path for file in open_files if file.path.parts[-4] == "outcomes"]
    register_history(settings, name, "import", history)
    closed = read_ledger(settings).closed_through
    record_provenance(settings, name, facts | result, closed)
