"""One import from beginning to end."""

import re
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from expectations import contracts, mapping
from expectations.mapping import LoadedMapping, MappingError
from pipelines.core.data_provenance import record_provenance
from pipelines.core.database import connect
from pipelines.core.errors import ImportRejected, IntegrityError, UsageError
from pipelines.core.publishing import publishing, sha256, write_parquet
from pipelines.core.settings import Settings
from pipelines.importing.mapping_sql import literal, quote
from pipelines.importing.read import receive, receive_beside
from pipelines.importing.split_by_feed import Routing, Window
from pipelines.importing.write import write_feed

UNREADABLE = "unreadable"


def import_file(
    settings: Settings,
    mapping_name: str,
    file: Path,
    start: date | None = None,
    days: int | None = None,
) -> dict[str, Any]:
    """Write what `file` holds as feed files under `landing/`, as the mapping says.

    The same file, mapping and dates give the same bytes, in the same files. A value that the
    mapping can't convert passes as it is, so that ingest judges it by the contract. A row that
    can't be read, or has no usable source or date for a feed, is set aside with its reason under
    `quarantine/import/`.

    Args:
        settings: Says where the home is.
        mapping_name: A name in `expectations/mappings/`, or a path that ends in .yml.
        file: The foreign file; a name that ends in .gz is unpacked while it is read.
        start: First landing date that is written; None: every date. Standing catalogues, whose
            date is a constant of the mapping, are written in any case.
        days: Dates from `start` on; None: no end.

    Returns:
        `mapping`, `file`, `file_sha256`, `beside` (the tables that the mapping wants beside it,
        each with its `file`, `file_sha256` and `rows`, or None where it doesn't lie there),
        `read` (rows of the file), `unreadable` (of them),
        `feeds` (feed -> rows `received`, `written`, `outside` the dates, `merged`, `set_aside`;
        `files`, `sources`, `first` and `last` date), `set_aside` (reasons) and `kept_in`.

    Raises:
        UsageError: No such mapping or file, or `days` without `start`.
        ImportRejected: The file isn't what the mapping says, or the mapping is wrong.
    """
    loaded = _loaded(mapping_name)
    window = _window(start, days)
    if not file.is_file():
        raise UsageError(f"there is no file {file}; nothing was imported")
    with (
        connect(settings) as connection,
        tempfile.TemporaryDirectory(prefix=".import-", dir=settings.home) as workspace,
    ):
        # Tables on disk are compressed and make room in memory; the file goes with the folder.
        connection.execute(f"attach {literal(f'{workspace}/tables.duckdb')} as tables")
        connection.execute("use tables")
        names = receive(connection, file, loaded.mapping.file, Path(workspace))
        result = _counted(settings, connection, file)
        result["beside"] = receive_beside(connection, file, loaded.mapping.beside)
        routing = Routing(connection, loaded, names, window)
        feeds = _route(routing)
        stem = re.sub(r"[^a-z0-9]+", "-", file.name.split(".")[0].lower()).strip("-")
        for feed, counts in feeds.items():
            counts.update(
                write_feed(connection, feed, settings.landing, f"{loaded.name}-{stem}.csv")
            )
            _check(feed, counts)
        result |= {"mapping": loaded.name, "feeds": feeds}
        result |= _set_aside(settings, connection, loaded, result)
    _record(settings, loaded, result, window)
    return result


def _loaded(name: str) -> LoadedMapping:
    try:
        return mapping.load(name)
    except MappingError as error:
        raise ImportRejected(
            f"{error}\nNothing was read or written. Correct the mapping."
        ) from None


def _window(start: date | None, days: int | None) -> Window:
    if days is not None and (start is None or days < 1):
        raise UsageError("--days needs --start, and is at least 1; nothing was imported")
    last = start + timedelta(days - 1) if start and days else None
    return Window(str(start) if start else None, str(last) if last else None)


def _counted(
    settings: Settings, connection: duckdb.DuckDBPyConnection, file: Path
) -> dict[str, Any]:
    """Count what was read; too much that can't be read means that the mapping doesn't fit."""
    sound, unreadable = (connection.table(table).shape[0] for table in ("received", UNREADABLE))
    total = sound + unreadable
    if unreadable > settings.max_reject_share * total:
        rule, message, times = connection.execute(
            "select rule, message, count(*) as n from unreadable group by all"
            " order by n desc, rule, message"
        ).fetchall()[0]
        raise ImportRejected(
            f"{file.name}: {unreadable:,} of {total:,} rows can't be read; the limit is "
            f"{settings.max_reject_share:.0%} (BANYAN_MAX_REJECT_SHARE). Most often a row "
            f"{message} ({rule}, {times:,} times). Nothing was written. Correct "
            "`file` in the mapping (encoding, delimiter, skip_lines), or ask for the file again."
        )
    return {
        "file": file.name,
        "file_sha256": sha256(file),
        "read": total,
        UNREADABLE: unreadable,
    }


def _route(routing: Routing) -> dict[str, dict[str, Any]]:
    routing.prepare()
    connection = routing.connection
    connection.execute(
        "create table set_aside as"
        " select row_line, 'any' as feed, rule, message, received from unreadable"
    )
    feeds: dict[str, dict[str, Any]] = {}
    for number, route in enumerate(routing.loaded.mapping.routes):
        columns = [f"{quote(name)} varchar" for name in contracts.load(route.feed).names]
        connection.execute(
            f"create table if not exists {quote(route.feed)}"
            f" (source varchar, landed date, {', '.join(columns)})"
        )
        counts = routing.fill(number)
        known = feeds.setdefault(route.feed, dict.fromkeys(counts, 0))
        feeds[route.feed] = {name: known[name] + count for name, count in counts.items()}
    return feeds


def _check(feed: str, counts: dict[str, Any]) -> None:
    ends = sum(counts[fate] for fate in ("written", "outside", "merged", "set_aside"))
    if ends != counts["received"] or counts["rows"] != counts["written"]:
        raise IntegrityError(f"import of {feed} lost or doubled rows: {counts}")


def _set_aside(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    loaded: LoadedMapping,
    result: dict[str, Any],
) -> dict[str, Any]:
    """Publish what was set aside, and return how much for which reason."""
    table = connection.sql(
        "select feed, row_line as line, rule, message, received from set_aside order by all"
    ).to_arrow_table()
    folder = settings.quarantine / "import" / f"{loaded.name}-{result['file_sha256'][:12]}"
    facts = {name: result[name] for name in ("mapping", "file", "file_sha256")}
    with publishing(folder, facts) as fresh:
        write_parquet(table, fresh / "quarantine.parquet")
    reasons = connection.execute(
        "select feed || ': ' || rule, count(*) from set_aside group by all order by all"
    ).fetchall()
    return {"set_aside": dict(reasons), "kept_in": folder.relative_to(settings.home).as_posix()}


def _record(
    settings: Settings, loaded: LoadedMapping, result: dict[str, Any], window: Window
) -> None:
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
    record_provenance(settings, f"import {loaded.name} {result['file']} {dates}", facts | result)
