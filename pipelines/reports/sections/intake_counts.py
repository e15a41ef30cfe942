"""What came in at the first border of the day, and what was set aside there, from the manifests."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from expectations.contracts import feeds
from pipelines.core.database import connect
from pipelines.core.formats import without_personal
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.report_data import (
    Border,
    Expectation,
    LandedFile,
    SetAside,
    UnknownColumns,
)

SET_ASIDE = """
select
    source,
    file,
    "column",
    rule,
    severity,
    count(*) as records,
    sum(rows)::bigint as rows,
    min(line) as first_line,
    min(message) as message,
    bool_and(received is null) as is_file
from read_parquet(?)
group by all
order by all
"""


def manifests(settings: Settings, day: date) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every feed that has a lake partition for `day`, with its manifest."""
    for feed in feeds():
        folder = settings.day_folder(settings.lake / feed, day)
        if (folder / "manifest.json").is_file():
            yield feed, read_manifest(folder)


def borders(settings: Settings, day: date) -> tuple[Border, ...]:
    """Return the counts of every feed and source that landed something for `day`."""
    return tuple(
        Border(feed, source, **{name: counts.get(name, 0) for name in _COUNTS})
        for feed, manifest in manifests(settings, day)
        for source, counts in sorted(manifest["counts"].items())
    )


_COUNTS = (
    *("files", "refused_files", "received", "loaded"),
    *("quarantined", "duplicates", "emptied_values"),
)


def expectations(settings: Settings, day: date) -> tuple[Expectation, ...]:
    """Return every expectation that was evaluated, the broken ones first within a feed."""
    found = [
        Expectation(feed, **{name: result[name] for name in _RESULT})
        for feed, manifest in manifests(settings, day)
        for result in manifest.get("quality", [])
    ]
    return tuple(sorted(found, key=_broken_first))


_RESULT = ("rule", "expectation", "column", "severity", "evaluated", "unexpected")


def _broken_first(result: Expectation) -> tuple[object, ...]:
    return (result.feed, -result.unexpected, result.column, result.rule, result.severity)


def unknown_columns(settings: Settings, day: date) -> tuple[UnknownColumns, ...]:
    """Return the columns that sources sent and no contract knows."""
    return tuple(
        UnknownColumns(feed, source, tuple(sorted(map(without_personal, columns))))
        for feed, manifest in manifests(settings, day)
        for source, columns in sorted(manifest.get("unknown_columns", {}).items())
        if columns
    )


def landed_files(settings: Settings, day: date) -> tuple[LandedFile, ...]:
    """Return the files known on `day` that were more than simply new, by path."""
    path = settings.ledger / f"date={day}.jsonl"
    if not path.is_file():
        return ()
    entries = map(json.loads, path.read_text("utf-8").splitlines())
    files = [_landed_file(entry) for entry in entries]
    return tuple(sorted((file for file in files if file.what), key=lambda file: file.path))


def _landed_file(entry: dict[str, Any]) -> LandedFile:
    said = [
        "late: its own date had been run" if entry["is_late"] else "",
        f"version {entry['version']} of its path" if entry["version"] > 1 else "",
        "replaced by a newer version" if entry["state"] == "replaced" else "",
        without_personal(entry["note"]),
    ]
    return LandedFile(
        path=without_personal(entry["path"]),
        is_late=entry["is_late"],
        is_refused=entry["state"] == "refused",
        what="; ".join(part for part in said if part),
    )


def set_aside(settings: Settings, day: date) -> tuple[SetAside, ...]:
    """Return what is in quarantine for `day`, by file and rule; no value of any row."""
    found: list[SetAside] = []
    with connect(settings) as connection:
        for feed in feeds():
            path = settings.day_folder(settings.quarantine / feed, day) / "quarantine.parquet"
            if path.is_file():
                rows = connection.execute(SET_ASIDE, [str(path)]).fetchall()
                found += [_set_aside(feed, row) for row in rows]
    return tuple(found)


def _set_aside(feed: str, row: tuple[Any, ...]) -> SetAside:
    source, file, column, rule, severity, records, rows, first_line, message, is_file = row
    return SetAside(
        feed=feed,
        source=source,
        file=without_personal(file),
        column=column,
        rule=rule,
        severity=severity,
        records=records,
        rows=rows,
        first_line=first_line,
        message=without_personal(message or ""),
        is_file=is_file,
    )
