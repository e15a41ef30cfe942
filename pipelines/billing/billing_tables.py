"""The tables that returns, statements and feedback are computed from, as views."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.database import DELIVERED, connect, query_table, run_query
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.deliveries.ledger.events import create_states_as_of
from pipelines.evaluation.counted_outcomes import create_counted_outcomes_view

SQL = Path(__file__).parent / "sql"

DECISIONS = pa.schema(
    [
        *(
            (name, pa.string())
            for name in (
                "match_id",
                "channel_id",
                "lead_id",
                "institution_id",
                "product_id",
                "delivery_id",
            )
        ),
        ("delivered_on", pa.date32()),
        ("event", pa.string()),
        ("reason", pa.string()),
        ("recorded_at", pa.timestamp("us", tz="UTC")),
        ("known_on", pa.date32()),
        ("decision", pa.string()),
        ("why", pa.string()),
        ("decided_on", pa.date32()),
    ]
)
"""Columns of `settlement/date=D/return_decisions.parquet`."""

PRICES = ("institution_id", "product_id", "price_model", "price", "currency")


@contextmanager
def open_billing(settings: Settings, day: date) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with the views `delivered`, `outcomes` and `attributed_outcomes`.

    They are as known at the end of `day`.

    Raises:
        InputMissing: No marts are published up to `day`.
    """
    with connect(settings) as connection:
        connection.execute("set variable zone = $zone", {"zone": settings.time_zone})
        _create_delivered(connection, settings, day)
        create_counted_outcomes_view(connection, settings, day)
        run_query(connection, SQL / "attributed_outcomes.sql")
        yield connection


def load_decisions(settings: Settings, last: date, *, inclusive: bool = True) -> pa.Table:
    """Return the decisions on returns and disputes up to `last`, or before it."""
    end = f"date={last}"
    files = [
        folder / "return_decisions.parquet"
        for folder in sorted(settings.settlement.glob("date=*"))
        if folder.name < end or (inclusive and folder.name == end)
    ]
    tables = [pq.read_table(file, partitioning=None) for file in files if file.is_file()]
    return pa.concat_tables([DECISIONS.empty_table(), *tables])


def create_billable(
    connection: duckdb.DuckDBPyConnection, settings: Settings, *, matches: pa.Table | None = None
) -> None:
    """Create the table `billable`: the delivered matches with the terms of their date.

    Args:
        connection: With the views of `open_billing`.
        settings: Where the marts are.
        matches: Only the matches with a `match_id` of this table; None: all.

    Raises:
        IntegrityError: A delivered match has no price, because its marts are gone.
    """
    chosen = "" if matches is None else "semi join chosen on delivered.match_id = chosen.match_id"
    connection.register("chosen", pa.table({"match_id": []}) if matches is None else matches)
    connection.execute(
        f"create or replace temp table delivered_matches as select distinct * from delivered "
        f"{chosen}"
    )
    dates = connection.execute('select distinct "date" from delivered_matches').fetchall()
    files = [
        file
        for (day,) in sorted(dates)
        if (file := settings.day_folder(settings.marts, day) / "products.parquet").is_file()
    ]
    if files:
        connection.read_parquet(
            [str(file) for file in files], hive_partitioning=True, union_by_name=True
        ).create_view("terms", replace=True)
    else:
        names = [(name, pa.string()) for name in PRICES if name != "price"]
        schema = pa.schema([*names, ("price", pa.float64()), ("date", pa.date32())])
        connection.register("terms", schema.empty_table())
    run_query(connection, SQL / "billable.sql")
    ((missing,),) = connection.execute(
        "select count(*) from billable where price is null or price_model is null"
    ).fetchall()
    if missing:
        raise IntegrityError(
            f"{missing:,} delivered matches have no price: the marts of their dates, or the "
            "products in them, are missing. Nothing was billed. Run these dates again."
        )


def create_credits(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    days: Iterable[date],
    decisions: pa.Table,
    as_of: date,
) -> None:
    """Create `credits`, and the ledger's `events` and `states` of `days`, as known on `as_of`."""
    create_states_as_of(connection, settings, days, as_of)
    connection.register("decisions", decisions)
    run_query(connection, SQL / "credits.sql")


def load_used(connection: duckdb.DuckDBPyConnection, day: date) -> set[tuple[str, date]]:
    """Return institution and date of each delivery of which a lead was approved or funded by `day`.

    Args:
        connection: With the views of `open_billing`.
        day: The business date.
    """
    rows = query_table(connection, SQL / "used_deliveries.sql", {"day": day})
    return set(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))


def load_success_dates(connection: duckdb.DuckDBPyConnection, day: date) -> set[date]:
    """Return the dates of the deliveries of which a lead became approved or funded on `day`."""
    rows = connection.execute(
        "select distinct delivered_on from attributed_outcomes "
        "where event in ('approved', 'funded') and known_on = $day",
        {"day": day},
    )
    return {delivered_on for (delivered_on,) in rows.fetchall()}


def fit_money(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of `schema`; an amount stays a decimal, so that its file has cents."""
    columns = {
        field.name: column
        if pa.types.is_decimal((column := table[field.name]).type)
        else column.cast(field.type)
        for field in schema
    }
    return pa.table(columns)


def compute_dues(connection: duckdb.DuckDBPyConnection, as_of: date) -> pa.Table:
    """Return what is due for each match of `billable` as known on `as_of`."""
    return query_table(connection, SQL / "dues.sql", {"as_of": as_of})


def _create_delivered(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> None:
    files = [
        str(path)
        for folder in sorted(settings.delivered.glob("date=*"))
        if folder.name <= f"date={day}"
        for path in sorted(folder.glob("[!.]*.parquet"))
    ]
    if files:
        connection.read_parquet(files, hive_partitioning=True, union_by_name=True).create_view(
            "delivered"
        )
    else:
        schema = DELIVERED.append(pa.field("date", pa.date32()))
        connection.register("delivered", schema.empty_table())
