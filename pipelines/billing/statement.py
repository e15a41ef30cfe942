"""Monthly statement of an institution: what is due by the month's end, less what was booked before.

A statement is published once, after the last date of its month was followed up, and never again.
What becomes known later is a booking of a later month. So the statements of an institution add up
to what it owes by all that is known.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

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
    load_decisions,
    open_billing,
)
from pipelines.core.database import query_table
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import (
    MANIFEST,
    publishing,
    read_manifest,
    require_unchanged,
    write_json,
)
from pipelines.core.rendering.html import environment
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json
from pipelines.deliveries import lead_file
from pipelines.deliveries.ledger.events import list_days
from pipelines.deliveries.signatures import load_signing_key, publish_keys, sign_file
from pipelines.ingest.validation.great_expectations_gate import require_outgoing

LINES, MATCHES = load_outbound("statement"), load_outbound("statement_matches")
FOLDER = "statements"
"""Folder below `outbox/`."""
CLOSED = "closed.json"
"""File of a month that says that all its statements are published, with what is due."""
TEMPLATES = Path(__file__).parent / "templates"
MONEY = pa.decimal128(18, 2)
BOOKED = pa.schema([("match_id", pa.string()), ("side", pa.string()), ("amount", MONEY)])


@dataclass(frozen=True)
class Month:
    """A calendar month."""

    first: date

    @classmethod
    def of(cls, day: date) -> "Month":
        """Return the month of `day`."""
        return cls(day.replace(day=1))

    @property
    def last(self) -> date:
        """Return its last date."""
        return self.following.first - timedelta(days=1)

    @property
    def following(self) -> "Month":
        """Return the month after it."""
        return Month.of(self.first + timedelta(days=31))

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


@dataclass(frozen=True)
class Statements:
    """The statements of a month: lines and bookings of all institutions."""

    month: Month
    as_of: date
    lines: pa.Table
    bookings: pa.Table

    @property
    def institutions(self) -> list[str]:
        """Return the institutions with a statement, sorted."""
        return sorted(self.lines["institution_id"].unique().to_pylist())


def close_months(settings: Settings, day: date) -> list[str]:
    """Publish the statements of each month that is over on `day` and has none; return the months.

    The last month is over once its last date was followed up.
    """
    closed = []
    for month in _list_months(settings, day):
        if month.last <= day and not is_closed(settings, month):
            publish_statements(settings, compute_statements(settings, month, month.last))
            closed.append(f"{month}")
    return closed


def is_closed(settings: Settings, month: Month) -> bool:
    """Return whether all statements of `month` are published."""
    return (month_folder(settings, month) / CLOSED).is_file()


def compute_statements(settings: Settings, month: Month, as_of: date) -> Statements:
    """Return the statements of `month` as known on `as_of`; earlier months are read as published.

    Raises:
        InputMissing: No marts are published up to `as_of`.
        IntegrityError: A delivered match has no price, or a closed statement was changed.
    """
    with open_billing(settings, as_of) as connection:
        decisions = load_decisions(settings, as_of)
        create_billable(connection, settings)
        create_credits(connection, settings, list_days(settings), decisions, as_of)
        connection.register("dues", compute_dues(connection, as_of))
        connection.register("booked", _load_booked(settings, month))
        bookings = query_table(connection, SQL / "statement_matches.sql")
        connection.register("bookings", bookings)
        lines = _load_lines(connection, month)
    return Statements(month, as_of, lines, bookings)


def publish_statements(settings: Settings, statements: Statements) -> None:
    """Publish the statement of each institution, then the month as closed.

    What a killed run published stays as it is: a published statement never changes.

    Raises:
        IntegrityError: A line breaks the contract of statements.
    """
    for contract, rows in ((LINES, statements.lines), (MATCHES, statements.bookings)):
        require_outgoing(contract, rows)
    root = month_folder(settings, statements.month)
    for name in statements.institutions:
        if not (root / name / MANIFEST).is_file():
            _publish_statement(root / name, statements, name)
    sign_statements(settings)
    totals = {name: read_manifest(root / name)["amount_due"] for name in statements.institutions}
    _write_month(root, statements, totals)


def sign_statements(settings: Settings) -> None:
    """Sign the manifest of every statement, by the key that signs the last date of its month.

    A signature that fits its manifest stays as it is; an erasure makes another manifest.
    """
    paths = sorted((settings.outbox / FOLDER).glob(f"month=*/[!.]*/{MANIFEST}"))
    if paths:
        publish_keys(settings)
    for path in paths:
        first = date.fromisoformat(f"{path.parts[-3].removeprefix('month=')}-01")
        sign_file(path, load_signing_key(settings, Month(first).last))


def load_statement(settings: Settings, month: Month, institution_id: str | None) -> dict[str, Any]:
    """Return the figures of a month's statements, or of a preview if the month is not closed."""
    root = month_folder(settings, month)
    if is_closed(settings, month):
        totals = read_json(root / CLOSED)["amount_due"]
        return {
            "month": f"{month}",
            "state": "closed",
            "folder": f"{root}",
            "amount_due": _select(totals, institution_id, month),
        }
    as_of = _last_followed_up(settings, month)
    statements = compute_statements(settings, month, as_of)
    totals = {name: _sum_due(statements.lines, name) for name in statements.institutions}
    return {
        "month": f"{month}",
        "state": f"preview as of {as_of}",
        "amount_due": _select(totals, institution_id, month),
    }


def month_folder(settings: Settings, month: Month) -> Path:
    """Return the folder of a month's statements."""
    return settings.outbox / FOLDER / f"month={month}"


def _select(
    totals: dict[str, dict[str, str]], institution_id: str | None, month: Month
) -> dict[str, dict[str, str]]:
    if institution_id is None:
        return totals
    if institution_id not in totals:
        raise InputMissing(
            f"{institution_id} has no statement for {month}: nothing was delivered to it, and "
            f"nothing booked. There are statements for {len(totals):,} institutions."
        )
    return {institution_id: totals[institution_id]}


def _last_followed_up(settings: Settings, month: Month) -> date:
    days = [
        date.fromisoformat(folder.name.removeprefix("date="))
        for folder in settings.settlement.glob("date=*")
    ]
    followed_up = [day for day in days if day <= month.last]
    if not followed_up or max(followed_up) < month.first:
        raise InputMissing(
            f"No date of {month} was followed up, so there is nothing to bill. Run a date of the "
            "month first: banyan run --date DATE"
        )
    return max(followed_up)


def _list_months(settings: Settings, day: date) -> list[Month]:
    """Return the months with deliveries up to `day`, and the months after them, oldest first."""
    dates = [
        date.fromisoformat(folder.name.removeprefix("date="))
        for folder in settings.delivered.glob("date=*")
    ]
    begun = [each for each in dates if each <= day]
    if not begun:
        return []
    months, month = [], Month.of(min(begun))
    while month.first <= day:
        months.append(month)
        month = month.following
    return months


def _load_booked(settings: Settings, month: Month) -> pa.Table:
    """Return the bookings of the closed months before `month`, from the statements' own files."""
    tables = [BOOKED.empty_table()]
    for root in sorted((settings.outbox / FOLDER).glob("month=*")):
        if root.name >= f"month={month}":
            continue
        for folder in sorted(path.parent for path in root.glob(f"*/{MANIFEST}")):
            if folder.name.startswith("."):
                continue
            require_unchanged(folder, "statement_matches")
            rows = lead_file.read(folder / "statement_matches.csv")
            tables.append(
                pa.table(
                    {
                        "match_id": rows["match_id"].cast(pa.string()),
                        "side": pc.replace_substring(
                            rows["kind"].cast(pa.string()), "_correction", ""
                        ),
                        "amount": rows["amount"].cast(pa.string()).cast(MONEY),
                    }
                )
            )
    return pa.concat_tables(tables)


def _load_lines(connection: duckdb.DuckDBPyConnection, month: Month) -> pa.Table:
    connection.execute(
        """
        create or replace temp view received as
        select distinct match_id from events where event = 'received' and counts
        """
    )
    facts = query_table(
        connection, SQL / "month_facts.sql", {"first": month.first, "last": month.last}
    )
    connection.register("month_facts", facts)
    return query_table(connection, SQL / "statement_lines.sql")


def _publish_statement(folder: Path, statements: Statements, institution_id: str) -> None:
    lines = statements.lines.filter(pc.equal(statements.lines["institution_id"], institution_id))
    bookings = _number(
        statements.bookings.filter(pc.equal(statements.bookings["institution_id"], institution_id)),
        lines,
    )
    due = _sum_due(statements.lines, institution_id)
    facts = {
        "institution_id": institution_id,
        "month": f"{statements.month}",
        "as_of": f"{statements.as_of}",
        "schema_versions": {c.name: c.schema_version for c in (LINES, MATCHES)},
        "amount_due": due,
        "rows": lines.num_rows,
    }
    page = environment(TEMPLATES).get_template("statement.html")
    with publishing(folder, facts) as fresh:
        for contract, rows in ((LINES, lines), (MATCHES, bookings)):
            file, version = fresh / f"{contract.name}.csv", contract.schema_version
            lead_file.write(fit_money(rows, contract.schema), file, schema_version=version)
        (fresh / "index.html").write_text(
            page.render(
                institution=institution_id,
                month=f"{statements.month}",
                as_of=f"{statements.as_of}",
                due=due,
                lines=lines.to_pylist(),
            ),
            "utf-8",
        )


def _number(bookings: pa.Table, lines: pa.Table) -> pa.Table:
    """Return the bookings with the number of their line."""
    keys = ["product_id", "price_model", "price_text", "currency"]
    numbered = lines.select(["line", "product_id", "price_model", "price", "currency"])
    numbered = numbered.rename_columns(["line", *keys])
    return bookings.join(numbered, keys=keys, join_type="inner").sort_by(
        [("line", "ascending"), ("match_id", "ascending"), ("kind", "ascending")]
    )


def _sum_due(lines: pa.Table, institution_id: str) -> dict[str, str]:
    """Return currency -> amount due, as text with two decimals."""
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    own = lines.filter(pc.equal(lines["institution_id"], institution_id))
    amounts = zip(own["currency"].to_pylist(), own["amount_due"].to_pylist(), strict=True)
    for currency, amount in amounts:
        totals[currency] += amount
    return {currency: f"{amount:.2f}" for currency, amount in sorted(totals.items())}


def _write_month(root: Path, statements: Statements, totals: dict[str, dict[str, str]]) -> None:
    """Write the file that closes the month."""
    facts = {
        "month": f"{statements.month}",
        "as_of": f"{statements.as_of}",
        "amount_due": totals,
    }
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / CLOSED, facts)
