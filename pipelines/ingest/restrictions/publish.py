"""Publish the day's restrictions and closing orders, from the quarantine of every feed.

A feed's part lies in its quarantine partition, so that rebuilding one feed keeps the parts of the
others: `lake/restrictions/date=D/` and `lake/closing_orders/date=D/` are a function of the
published partitions up to D and of the names of misplaced files. The part is an Arrow file, because
the Parquet files there hold quarantined rows.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import feather

from expectations.contracts import contracts, feeds
from pipelines.core import restrictions
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.duplicates import OTHER_PERSON
from pipelines.ingest.ledger import Entry
from pipelines.ingest.restrictions.references import (
    find_unknown_references,
    list_misplaced,
    list_of_other_feeds,
    widen_orders,
)

TABLES = {
    restrictions.FEED: restrictions.SCHEMA,
    restrictions.ORDERS_FEED: restrictions.ORDERS,
}

MAX_PLACES = 5
"""Files and lines that a finding names."""


def write_unreadable(
    connection: duckdb.DuckDBPyConnection, day: str, folders: Sequence[Path], quarantine: Path
) -> None:
    """Write a feed's restrictions and closing orders of `day` from its shards' `folders`."""
    for name, schema in TABLES.items():
        tables = [schema.empty_table()]
        for folder in folders:
            file = str(folder / f"{name}.parquet")
            found = connection.sql(
                "select * exclude (known_on) "
                "from read_parquet($file, hive_partitioning = false) where known_on = $day",
                params={"file": file, "day": day},
            ).to_arrow_table()
            tables.append(found.cast(schema))
        part = _sort(pa.concat_tables(tables)).combine_chunks()
        feather.write_feather(part, quarantine / f"{name}.arrow", compression="uncompressed")


def publish_restrictions(settings: Settings, day: date, entries: Sequence[Entry]) -> None:
    """Publish the restrictions and closing orders that became known on `day`.

    Args:
        settings: Where the partitions of `day` are published.
        day: The date of intake.
        entries: The ledger, for files in misspelt folders.
    """
    folders = [settings.day_folder(settings.quarantine / feed, day) for feed in _restricting()]
    for name, schema in TABLES.items():
        files = [folder / f"{name}.arrow" for folder in folders]
        tables = [feather.read_table(file) for file in files if file.is_file()]
        if name == restrictions.FEED:
            tables.append(list_misplaced(entries, day))
            tables.append(list_of_other_feeds(_list_rejected_files(settings, day), entries))
        table = pa.concat_tables([schema.empty_table(), *tables])
        if name == restrictions.ORDERS_FEED:
            table = widen_orders(settings, day, table)
        table = _sort(table)
        findings = _list_findings(name, table)
        if name == restrictions.FEED:
            findings += _find_mixed_keys(settings, day)
            unknown = find_unknown_references(settings, day)
            findings += [_make_finding(*found) for found in unknown]
        facts = {"counts": {"rows": table.num_rows}, "findings": findings}
        with publishing(settings.day_folder(settings.lake / name, day), facts) as folder:
            write_parquet(table, folder / f"{name}.parquet")


def _list_rejected_files(settings: Settings, day: date) -> list[dict[str, Any]]:
    """Return feed, source, file and message of the files that `day` rejected, of every feed."""
    found: list[dict[str, Any]] = []
    names = ["source", "file", "line", "rule", "message"]
    for feed in feeds():
        file = settings.day_folder(settings.quarantine / feed, day) / "quarantine.parquet"
        if file.is_file():
            records = pq.read_table(file, columns=names, partitioning=None)
            rejected = records.filter(
                pc.and_(pc.equal(records["rule"], "header"), pc.is_null(records["line"]))
            )
            found += [row | {"feed": feed} for row in rejected.to_pylist()]
    return found


def _restricting() -> list[str]:
    return [contract.feed for contract in contracts() if contract.on_unreadable]


def _sort(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in table.schema.names])


def _list_findings(name: str, table: pa.Table) -> list[dict[str, Any]]:
    """Return one finding per action (or reason of an order): `id`, `count`, `sources`."""
    column = "action" if name == restrictions.FEED else "reason"
    return [
        _make_finding(FINDINGS[value], part)
        for value in sorted(pc.unique(table[column]).to_pylist())
        if (part := table.filter(pc.equal(table[column], value))).num_rows
    ]


FINDINGS = {
    restrictions.CLOSE_PRODUCT: "unreadable_rule_closes_product",
    restrictions.CLOSE_INSTITUTION: "unreadable_file_closes_institution",
    restrictions.HOLD_DELIVERY: "unreadable_order_holds_delivery",
    "consent_withdrawn": "withdrawal_in_a_copy",
    "consent_narrowed": "withdrawal_in_a_copy",
    "consent_role": "consent_role_disputed",
    "owner_disputed": "owner_disputed",
    "unreadable_consent": "unreadable_consent",
    "unmapped_column": "unknown_column_closes_lead",
    "unreadable_order": "unreadable_order_applied",
}
"""Action or reason -> id of the finding in `expectations/policy/verdict.yml`."""


def _find_mixed_keys(settings: Settings, day: date) -> list[dict[str, Any]]:
    """Return the finding of rows whose key names different persons, if there are any."""
    tables = []
    for feed in feeds():
        file = settings.day_folder(settings.quarantine / feed, day) / "quarantine.parquet"
        if file.is_file():
            records = pq.read_table(file, columns=["source", "rule"], partitioning=None)
            tables.append(records.filter(pc.equal(records["rule"], OTHER_PERSON)))
    mixed = pa.concat_tables(tables) if tables else None
    return [_make_finding(OTHER_PERSON, mixed)] if mixed is not None and mixed.num_rows else []


def _make_finding(identifier: str, rows: pa.Table) -> dict[str, Any]:
    sources = sorted(set(rows["source"].to_pylist()) - {""})
    finding = {"id": identifier, "count": rows.num_rows, "sources": sources}
    return finding | ({"detail": _list_places(rows)} if "line" in rows.column_names else {})


def _list_places(rows: pa.Table) -> str:
    """Return file, line and rule of the first rows of a restriction or order, in words."""
    names = [name for name in ("file", "line", "reason") if name in rows.column_names]
    places = dict.fromkeys(map(_describe_place, rows.select(names).to_pylist()))
    more = [f"and {len(places) - MAX_PLACES} more"] if len(places) > MAX_PLACES else []
    return "; ".join([*[*places][:MAX_PLACES], *more])


def _describe_place(row: dict[str, Any]) -> str:
    rule, _, column = row["reason"].partition(" of ")
    line = f" line {row['line']}" if row["line"] is not None else ""
    return f"{row['file']}{line} ({f'column {column}, ' if column else ''}{rule})"
