"""Record in the ledger what plan, outbox, transport, receipts and returns say of a date."""

from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import connect, query_table
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries.delivered_matches import read_version_ids
from pipelines.deliveries.ledger.delivery_versions import (
    NOTHING,
    find_sent,
    forget_transport,
    list_institutions,
    name_delivery,
    read_versions,
)
from pipelines.deliveries.ledger.events import SQL, append_events, ledger_folder

VERSION_ROWS = pa.schema(
    [
        ("match_id", pa.string()),
        ("institution_id", pa.string()),
        ("version", pa.int32()),
        ("transport", pa.string()),
        ("known_on", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
ANSWERS = pa.schema(
    [
        ("institution_id", pa.string()),
        ("version", pa.int32()),
        ("event", pa.string()),
        ("known_on", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("source", pa.string()),
        ("detail", pa.string()),
    ]
)
"""Columns of answers: `event` is received or refused."""

DELIVERIES = pa.schema(
    [
        ("institution_id", pa.string()),
        ("delivery_id", pa.string()),
        ("state", pa.string()),
        ("known_on", pa.date32()),
    ]
)


def record_plan(settings: Settings, day: date) -> int:
    """Record which matches of `day` are planned, held, sent or retracted; return new events."""
    forget_transport()
    matches = settings.day_folder(settings.matches, day) / "matches.parquet"
    if not matches.is_file():
        return 0
    with connect(settings) as connection:
        plan = pq.read_table(matches, columns=["match_id", "institution_id"], partitioning=None)
        connection.register("matches", plan)
        _register_deliveries(connection, settings, day)
        facts = query_table(connection, SQL / "plan_facts.sql", {"day": day})
        return append_events(connection, settings, day, "new_plan_events", facts, day=day)


def record_answers(settings: Settings, day: date, answers: pa.Table) -> int:
    """Record judged receipts for each match of the answered versions; return new events.

    Args:
        settings: Where the ledger is.
        day: The date of the deliveries.
        answers: See `ANSWERS`; one row a receipt.
    """
    with connect(settings) as connection:
        return append_events(connection, settings, day, "new_answer_events", answers)


def record_returns(settings: Settings, day: date, returns: pa.Table) -> int:
    """Record accepted returns of matches delivered on `day`; return new events.

    Args:
        settings: Where the ledger is.
        day: The date of the deliveries.
        returns: `match_id`, `institution_id`, `delivery_id`, `known_on` and `detail`.
    """
    with connect(settings) as connection:
        return append_events(connection, settings, day, "new_returned_events", returns)


def record_expired(settings: Settings, day: date) -> int:
    """Record as of `day` the deliveries whose receipt is overdue by policy; return new events.

    Only dates around the limit are looked at; one that passed it is recorded already.
    """
    rules = policy.deliveries()
    before = day - timedelta(days=rules.receipt_days - 1)
    added = 0
    for back in range(rules.receipt_days, 2 * rules.receipt_days + 7):
        delivered_on = day - timedelta(days=back)
        if not ledger_folder(settings, delivered_on).is_dir():
            continue
        with connect(settings) as connection:
            added += append_events(
                connection,
                settings,
                delivered_on,
                "new_expired_events",
                day=day,
                sent_before=before,
            )
    return added


def _register_deliveries(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> None:
    """Create `version_rows`, `deliveries` and `withdrawn` of the outbox of `day`."""
    rows, deliveries, withdrawn = [VERSION_ROWS.empty_table()], [], []
    for name in list_institutions(settings, day):
        folder = settings.day_folder(settings.outbox, day) / name
        manifest = read_manifest(folder)
        state = manifest.get("state")
        if state in {None, NOTHING}:  # attachments alone: no lead was ever meant for this folder
            continue
        deliveries.append(
            {
                "institution_id": name,
                "delivery_id": manifest.get("delivery_id", name_delivery(day, name)),
                "state": state,
                "known_on": date.fromisoformat(manifest.get("judged_as_of", f"{day}")),
            }
        )
        if state == "held":
            withdrawn += manifest.get("retracted", [])
        rows += _read_version_rows(settings, day, name)
    connection.register("version_rows", pa.concat_tables(rows))
    connection.register("deliveries", pa.Table.from_pylist(deliveries, DELIVERIES))
    connection.register("withdrawn", pa.table({"match_id": pa.array(withdrawn, pa.string())}))


def _read_version_rows(settings: Settings, day: date, institution_id: str) -> list[pa.Table]:
    folder = settings.day_folder(settings.outbox, day) / institution_id
    entries = read_manifest(folder)["deliveries"] if (folder / MANIFEST).is_file() else []
    tables = []
    for version, entry in zip(read_versions(settings, day, institution_id), entries, strict=True):
        ids = pa.array(read_version_ids(folder, entry), pa.string())
        transport, sent_at = find_sent(settings, version)
        constants = {
            "institution_id": institution_id,
            "version": version.version,
            "transport": transport,
            "known_on": version.known_on,
            "at": datetime.fromisoformat(sent_at) if sent_at else None,
        }
        tables.append(_with_constants(ids, constants, VERSION_ROWS))
    return tables


def _with_constants(ids: pa.Array, constants: dict[str, Any], schema: pa.Schema) -> pa.Table:
    columns = {
        field.name: pa.repeat(pa.scalar(constants.get(field.name), field.type), len(ids))
        for field in schema
        if field.name != "match_id"
    }
    return pa.table({"match_id": ids} | columns).select(schema.names).cast(schema)
