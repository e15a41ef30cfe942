"""Supply chains among today's matches: what hangs on one buyer, and on one sector."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipelines.core.database import run_query
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql" / "chains.sql"
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
class Chains:
    """What today's matches expose institutions to, greatest sum first."""

    chains: tuple[ChainExposure, ...] = ()
    sectors: tuple[ChainExposure, ...] = ()


def load_chains(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> Chains:
    """Return the exposure of today's matches by chain, and by sector.

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
    return Chains(chains, load("sector"))
