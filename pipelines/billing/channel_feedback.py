"""Feedback to channels: what became of their own leads, without any institution's name."""

from datetime import date, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.outbound_contracts import load_outbound
from pipelines.billing.billing_tables import (
    SQL,
    compute_dues,
    create_billable,
    create_credits,
    fit_money,
)
from pipelines.core.database import query_table
from pipelines.core.publishing import publishing
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file

CONTRACT = load_outbound("channel_feedback")
FOLDER = "channels"
"""Folder below `outbox/`."""


def publish_feedback(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    day: date,
    decisions: pa.Table,
    ledger_days: set[date],
) -> int:
    """Publish the feedback of `day` to each channel with news; return the number of channels.

    Args:
        connection: With the views of `open_billing`.
        settings: Where the home is.
        day: The business date.
        decisions: All decisions on returns up to `day`.
        ledger_days: The dates of deliveries whose ledger changed on `day`.
    """
    news = _load_news(connection, settings, day, decisions, ledger_days)
    names = [name for name in news["channel_id"].unique().to_pylist() if name]
    for name in names:
        own = news.filter(pc.equal(news["channel_id"], name))
        folder = settings.day_folder(settings.outbox / FOLDER, day) / name
        facts = {
            "channel_id": name,
            "date": f"{day}",
            "schema_version": CONTRACT.schema_version,
            "rows": own.num_rows,
        }
        with publishing(folder, facts) as fresh:
            lead_file.write(
                fit_money(own, CONTRACT.schema),
                fresh / "feedback.csv",
                schema_version=CONTRACT.schema_version,
            )
    return len(names)


def _load_news(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    day: date,
    decisions: pa.Table,
    ledger_days: set[date],
) -> pa.Table:
    for name, root in (("matches", settings.matches), ("unmatched", settings.unmatched)):
        file = settings.day_folder(root, day) / f"{name}.parquet"
        connection.read_parquet(str(file), hive_partitioning=False).create_view(name, replace=True)
    create_credits(connection, settings, ledger_days, decisions, day)
    changed = query_table(connection, SQL / "changed_matches.sql", {"day": day})
    create_billable(connection, settings, matches=changed)
    connection.register("dues_now", compute_dues(connection, day))
    connection.register("dues_before", compute_dues(connection, day - timedelta(days=1)))
    return query_table(connection, SQL / "channel_feedback.sql", {"day": day})
