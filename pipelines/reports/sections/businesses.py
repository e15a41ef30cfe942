"""Business leads of the day: contradictory figures, and who consented for the business."""

import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import run_query
from pipelines.core.formats import count
from pipelines.core.settings import Settings
from pipelines.core.translation import Text, text

SQL = Path(__file__).parent / "sql"
MAX_EXAMPLES = 3
"""Channels of which an example of each contradiction is shown."""

CONTRADICTIONS = {
    "tax_above_revenue": text("tax paid is more than the revenue can bear"),
    "sales_above_revenue": text("known buyers were invoiced more than the revenue"),
    "too_many_invoices": text("more invoices than the revenue can have"),
    "sales_without_invoices": text("known buyers were invoiced, and no invoice is declared"),
    "revenue_without_employees": text("a large revenue, and nobody is employed"),
    "revenue_per_employee": text("more revenue than so few people make"),
    "sales_before_founding": text("a known buyer was invoiced before the business was founded"),
}
"""Contradiction of the mart -> text."""

CONSENT_ROLES = {
    "": text("not stated"),
    "owner": text("owner"),
    "legal_representative": text("legal representative"),
    "authorised_agent": text("agent with authority"),
    "employee": text("employee"),
    "unknown": text("unknown role"),
}
"""Role of who consented for a business -> text; a role that a policy adds shows as it is."""


@dataclass(frozen=True)
class ContradictionCount:
    """Business leads of one channel with one contradiction."""

    channel_id: str
    contradiction: str
    leads: int
    businesses: int
    """Business leads of the channel."""


@dataclass(frozen=True)
class ContradictionExample:
    """One lead, masked, with the figures that contradict each other."""

    contradiction: str
    channel_id: str
    lead: str
    """The first characters of the channel's id."""
    figures: Text


@dataclass(frozen=True)
class ConsentRoleCount:
    """Business leads with one role of who consented for the business."""

    role: str
    """As the policy names it; `unknown` for any other word, empty where none is stated."""
    leads: int
    closed: int
    """Leads that the role leaves without consent."""
    matched: int


@dataclass(frozen=True)
class Businesses:
    """What the day's report says of business leads."""

    contradictions: tuple[ContradictionCount, ...] = ()
    examples: tuple[ContradictionExample, ...] = ()
    consent_roles: tuple[ConsentRoleCount, ...] = ()


def load_businesses(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Businesses:
    """Return contradictions and roles of consent among business leads, most frequent first.

    Raises:
        FileNotFoundError: The marts are not published, or of an earlier version.
    """
    marts = settings.day_folder(settings.marts, day)
    file = marts / "lead_contradictions.parquet"
    if not file.is_file():
        raise FileNotFoundError(file)
    return Businesses(
        contradictions=load_contradictions(connection, marts),
        examples=_load_examples(connection, file),
        consent_roles=_load_consent_roles(settings, day, connection),
    )


def _load_consent_roles(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[ConsentRoleCount, ...]:
    """Return the roles of the day's business leads; none before the matching is done."""
    sent = settings.day_folder(settings.lake / "leads", day) / "leads.parquet"
    matches = settings.day_folder(settings.matches, day) / "matches.parquet"
    if not matches.is_file() or "consent_by_role" not in pq.read_schema(sent).names:
        return ()
    parameters = {
        "sent": str(sent),
        "leads": str(settings.day_folder(settings.marts, day) / "leads.parquet"),
        "matches": str(matches),
        "known": [*policy.consent_roles().known],
    }
    rows = run_query(connection, SQL / "consent_roles.sql", parameters).fetchall()
    return tuple(ConsentRoleCount(*row) for row in rows)


def load_contradictions(
    connection: duckdb.DuckDBPyConnection, marts: Path
) -> tuple[ContradictionCount, ...]:
    """Return the counts by channel and contradiction of the published marts `marts`."""
    files = {
        "leads": str(marts / "leads.parquet"),
        "contradictions": str(marts / "lead_contradictions.parquet"),
    }
    rows = run_query(connection, SQL / "contradictions.sql", files).fetchall()
    return tuple(ContradictionCount(*row) for row in rows)


def _load_examples(
    connection: duckdb.DuckDBPyConnection, file: Path
) -> tuple[ContradictionExample, ...]:
    parameters = {"contradictions": str(file)}
    rows = run_query(connection, SQL / "contradiction_examples.sql", parameters).fetchall()
    shown: dict[str, list[ContradictionExample]] = {}
    for contradiction, channel, lead, declared, compared, currency in rows:
        examples = shown.setdefault(contradiction, [])
        if len(examples) < MAX_EXAMPLES:
            figures = describe_figures(contradiction, declared, compared, currency)
            examples.append(ContradictionExample(contradiction, channel, lead, figures))
    return tuple(example for examples in shown.values() for example in examples)


def describe_figures(
    contradiction: str, declared: float, compared: float, currency: str | None
) -> Text:
    """Return the two figures in words; amounts have two digits, so that none names a firm."""

    def write_amount(amount: float) -> str:
        return f"{count(round_to_two_digits(amount))} {currency or ''}".rstrip()

    match contradiction:
        case "tax_above_revenue":
            return text(
                "revenue {declared}, tax {compared}",
                declared=write_amount(declared),
                compared=write_amount(compared),
            )
        case "sales_above_revenue":
            return text(
                "revenue {declared}, sales to known buyers {compared}",
                declared=write_amount(declared),
                compared=write_amount(compared),
            )
        case "too_many_invoices":
            return text(
                "revenue {declared}, invoices {compared}",
                declared=write_amount(declared),
                compared=count(round_to_two_digits(compared)),
            )
        case "sales_without_invoices":
            return text(
                "invoices {declared}, sales to known buyers {compared}",
                declared=count(declared),
                compared=write_amount(compared),
            )
        case "revenue_without_employees" | "revenue_per_employee":
            return text(
                "people employed {declared}, revenue {compared}",
                declared=count(declared),
                compared=write_amount(compared),
            )
        case _:
            return text(
                "founded {declared} months ago, first known sale {compared} months ago",
                declared=count(declared),
                compared=count(compared),
            )


def round_to_two_digits(amount: float) -> float:
    """Return `amount` with two significant digits."""
    if not amount or not math.isfinite(amount):
        return amount
    return round(amount, 1 - math.floor(math.log10(abs(amount))))
