"""Supply chains in today's matches and in the book: what hangs on one buyer, or one sector."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipelines.core.database import run_query
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql" / "chains.sql"
BOOK_SQL = SQL.with_name("loan_book.sql")
CODE = "supply_chain_code"
MIN_LEADS = 2
"""Businesses from which a chain is shown: one alone hangs together with nobody."""


@dataclass(frozen=True)
class ChainExposure:
    """Today's matched businesses of one chain or sector; money in `currency`, as expected."""

    name: str
    """Code of the chain, or industry."""
    currency: str
    leads: int
    matches: int
    institutions: int
    lent: float
    defaulted: float
    defaulted_if_buyer_fails: float
    """If the largest buyer of each business fails; see `sql/chains.sql`."""


@dataclass(frozen=True)
class BookExposure:
    """Loans of one chain or sector that are funded and not repaid; money in `currency`."""

    name: str
    """Code of the chain, or industry."""
    currency: str
    leads: int
    loans: int
    institutions: int
    lent: float
    """Amounts paid out; no feed has what is still owed."""
    overdue: float
    """Of `lent`, the loans of which a payment was 30 or more days late."""


@dataclass(frozen=True)
class Chains:
    """What today's matches and the book expose institutions to, greatest sum first."""

    chains: tuple[ChainExposure, ...] = ()
    sectors: tuple[ChainExposure, ...] = ()
    book_chains: tuple[BookExposure, ...] = ()
    book_sectors: tuple[BookExposure, ...] = ()


def load_chains(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> Chains:
    """Return the exposure of today's matches and of the book by chain, and by sector.

    Raises:
        FileNotFoundError: Nothing is matched, or the marts are of an earlier version.
    """
    leads = settings.day_folder(settings.marts, day) / "leads.parquet"
    matches = settings.day_folder(settings.matches, day) / "matches.parquet"
    if not matches.is_file() or CODE not in pq.read_schema(leads).names:
        raise FileNotFoundError(leads)

    def load(by: str) -> tuple[ChainExposure, ...]:
        parameters = {"by": by, "leads": str(leads), "matches": str(matches)}
        rows = run_query(connection, SQL, parameters).fetchall()
        return tuple(ChainExposure(*row) for row in rows)

    chains = tuple(chain for chain in load("chain") if chain.leads >= MIN_LEADS)
    return Chains(chains, load("sector"), **_load_book(settings, day, connection))


def _load_book(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> dict[str, tuple[BookExposure, ...]]:
    """Return the fields of `Chains` on the book; none where an earlier version wrote the marts."""
    book = settings.day_folder(settings.marts, day) / "loan_book.parquet"
    if not book.is_file():
        return {}

    def load(by: str) -> tuple[BookExposure, ...]:
        rows = run_query(connection, BOOK_SQL, {"by": by, "book": str(book)}).fetchall()
        return tuple(BookExposure(*row) for row in rows)

    chains = tuple(chain for chain in load("chain") if chain.leads >= MIN_LEADS)
    return {"book_chains": chains, "book_sectors": load("sector")}
