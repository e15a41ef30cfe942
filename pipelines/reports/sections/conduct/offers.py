"""Admission, price caps, odds and service of lenders: what people are offered, and by which."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import norm

from expectations import policy
from models.params import params
from pipelines.core.database import query_table
from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.core.statistics import reject_by_holm, round_significant, wilson_interval
from pipelines.pairs.eligibility.load_inputs import find_price_caps
from pipelines.pairs.valuation import least_odds_sql

SQL = Path(__file__).parent / "sql"
LEVEL = 0.05
"""Chance that any lender is marked on a day on which none is served worse than by broadcast."""
MIN_MATCHES = 20
"""Matches from which on a lender is compared."""
ODDS_DAYS = 90
"""Days of offers whose odds are compared with what happened."""


@dataclass(frozen=True)
class Admission:
    """The admission of one institution, and what it has of it on the day."""

    institution_id: str
    kind: str | None
    admitted_from: str | None
    admitted_to: str | None
    products: int
    open_products: int
    matches: int
    is_admitted: bool

    def ends_by(self, day: date) -> bool:
        """Return whether it is admitted now and no longer after `day`."""
        return self.is_admitted and self.admitted_to is not None and self.admitted_to <= f"{day}"


@dataclass(frozen=True)
class NextCap:
    """The next change of a price cap."""

    begins: str
    cap: float


@dataclass(frozen=True)
class CapUse:
    """The price cap of one kind of institution, segment and currency, a fraction a year."""

    kind: str
    segment: str
    currency: str
    cap: float | None
    """None: no cap that the policy knows of."""
    products: int
    open_products: int
    highest_stated: float
    """Highest maximum that the catalogue states."""
    stated_above: int
    """Products whose stated maximum is above the cap."""
    open_above: int
    matches: int
    highest_suggested: float | None
    matches_above: int
    """Matches with a suggested rate above the cap."""
    sources: tuple[str, ...] = ()
    """Sources of the caps in force."""
    next_cap: NextCap | None = None


@dataclass(frozen=True)
class ProductAboveCap:
    """A product whose stated maximum is above the cap of its kind."""

    institution_id: str
    product_id: str
    kind: str
    apr_max: float
    cap: float
    is_open: bool


@dataclass(frozen=True)
class OddsBand:
    """Odds that earlier offers showed, beside what happened to the ones that are decided."""

    band: int
    """Lowest odds of the band, approvals of 100."""
    offers: int
    mean_shown: float
    decided: int
    approved: int
    low: float | None
    high: float | None
    """95% interval of the rate of approvals."""

    @property
    def is_kept(self) -> bool:
        """Return whether what happened does not contradict the odds: "at least" so many."""
        return self.high is None or self.high >= self.mean_shown


@dataclass(frozen=True)
class HopelessPeople:
    """Matched people whose offers together hardly bring an approval."""

    people: int
    hopeless: int
    least_odds: float | None
    """What the policy asks of one offer."""
    lowest: float | None
    """Lowest odds of a matched person."""


@dataclass(frozen=True)
class LenderService:
    """Predicted odds of a lender's matches, beside the odds that a broadcast would give it."""

    institution_id: str
    matches: int
    pairs: int
    odds: float
    broadcast_odds: float
    is_worse: bool
    """Lower beyond chance, over all lenders together (Holm)."""


def load_admissions(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[Admission, ...]:
    """Return the admission of every institution in the catalogue, the ones not admitted first."""
    _create_catalogue_views(settings, day, connection)
    rows = query_table(connection, SQL / "admissions.sql", {"day": day}).to_pylist()
    return tuple(Admission(**row) for row in rows)


def load_caps(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[CapUse, ...]:
    """Return the price caps of what the catalogue offers, with their use."""
    _create_catalogue_views(settings, day, connection)
    rows: list[dict[str, Any]] = query_table(connection, SQL / "caps_by_kind.sql").to_pylist()
    return tuple(
        CapUse(
            **row,
            sources=_sources(row["kind"], row["segment"], row["currency"], day),
            next_cap=_next_cap(row["kind"], row["segment"], row["currency"], day),
        )
        for row in rows
    )


def load_products_above_cap(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[ProductAboveCap, ...]:
    """Return the products whose stated maximum is above their cap, the farthest first."""
    _create_catalogue_views(settings, day, connection)
    rows = query_table(connection, SQL / "products_above_cap.sql").to_pylist()
    return tuple(ProductAboveCap(**row) for row in rows)


def load_odds_shown(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[OddsBand, ...]:
    """Return the odds of earlier offers that are old enough to be decided, by tens.

    Raises:
        InputMissing: The day's marts have no outcomes.
    """
    youngest = params().decision_maturity_days
    days = [day - timedelta(days=back) for back in range(youngest, youngest + ODDS_DAYS)]
    folders = [settings.day_folder(settings.offers, one) for one in sorted(days)]
    files = [str(path / "offers.parquet") for path in folders if (path / MANIFEST).is_file()]
    files = [path for path in files if "odds_shown" in pq.read_schema(path).names]
    if not files:
        return ()
    outcomes = list_mart_files(settings.day_folder(settings.marts, day), "outcomes")
    connection.read_parquet(outcomes, hive_partitioning=False).create_view("outcomes", replace=True)
    connection.read_parquet(files, hive_partitioning=False, union_by_name=True).create_view(
        "earlier_offers", replace=True
    )
    rows = query_table(connection, SQL / "odds_shown.sql").to_pylist()
    return tuple(_odds_band(row) for row in rows)


def load_hopeless(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> HopelessPeople:
    """Return the matched people whose offers together are below the least odds of one."""
    _create_catalogue_views(settings, day, connection)
    leads = settings.day_folder(settings.marts, day) / "leads.parquet"
    connection.read_parquet(str(leads), hive_partitioning=False).create_view("leads", replace=True)
    connection.execute(
        "create or replace view odds_of_leads as select channel_id, lead_id, "
        f"{least_odds_sql(day)} as least_odds from leads"
    )
    (row,) = query_table(connection, SQL / "hopeless_people.sql").to_pylist()
    if row["lowest"] is not None:
        row["lowest"] = round_significant(row["lowest"])
    return HopelessPeople(**row)


def load_lender_service(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[LenderService, ...]:
    """Return the lenders with enough matches, the ones that broadcast would serve best first."""
    _create_catalogue_views(settings, day, connection)
    pairs = settings.day_folder(settings.pairs, day) / "pairs.parquet"
    connection.register("broadcast", _measure_broadcast(pairs))
    rows = query_table(connection, SQL / "lenders_by_broadcast.sql").to_pylist()
    rows = [row for row in rows if row["matches"] >= MIN_MATCHES]
    variance = np.array([row.pop("variance") / row["matches"] for row in rows], np.float64)
    shortfall = np.array([row["broadcast_odds"] - row["odds"] for row in rows], np.float64)
    deviations = np.divide(
        shortfall, np.sqrt(variance), out=np.zeros(len(rows)), where=variance > 0
    )
    is_worse = reject_by_holm(norm.sf(deviations), LEVEL)
    lenders = [
        LenderService(
            institution_id=row["institution_id"],
            matches=row["matches"],
            pairs=row["pairs"],
            odds=round_significant(row["odds"]),
            broadcast_odds=round_significant(row["broadcast_odds"]),
            is_worse=bool(is_worse[at]),
        )
        for at, row in enumerate(rows)
    ]
    return tuple(
        sorted(lenders, key=lambda row: (row.odds / row.broadcast_odds, row.institution_id))
    )


def _measure_broadcast(pairs: Path) -> pa.Table:
    """Return by `institution_id` the `pairs` and the odds of a broadcast: mean and mean square.

    It sends each lead to one of its pairs at random. Pairs are counted by codes of their leads:
    grouping tens of millions of rows by the texts of channel and lead takes three times as long.
    """
    keys = ["channel_id", "lead_id", "institution_id"]
    table = pq.read_table(
        pairs, columns=[*keys, "p_approve"], partitioning=None, read_dictionary=keys
    )
    channels, leads, institutions = (table[key].combine_chunks() for key in keys)
    lead = channels.indices.to_numpy() * np.int64(len(leads.dictionary)) + leads.indices.to_numpy()
    lead = pa.array(lead).dictionary_encode().indices.to_numpy()
    weight = 1 / np.bincount(lead)[lead]
    institution, odds = institutions.indices.to_numpy(), table["p_approve"].to_numpy()
    sums = [np.bincount(institution, weight * value) for value in (1, odds, odds**2)]
    return pa.table(
        {
            "institution_id": institutions.dictionary.slice(0, len(sums[0])),
            "pairs": np.bincount(institution),
            "odds": sums[1] / sums[0],
            "square": sums[2] / sums[0],
        }
    )


def _create_catalogue_views(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> None:
    """Create `day_products`, `day_matches` and `price_caps`."""
    products = settings.day_folder(settings.marts, day) / "products.parquet"
    matches = settings.day_folder(settings.matches, day) / "matches.parquet"
    for name, path in (("day_products", products), ("day_matches", matches)):
        connection.read_parquet(str(path), hive_partitioning=False).create_view(name, replace=True)
    caps = find_price_caps(pq.read_table(products, partitioning=None), day)
    connection.register("price_caps", caps)


def _sources(kind: str, segment: str, currency: str, day: date) -> tuple[str, ...]:
    """Return the sources of the caps in force, the lowest cap first."""
    caps = [cap for cap in policy.price_caps() if cap.holds(kind, segment, currency, day)]
    return tuple(f"{cap.cap:.1%}: {cap.source}" for cap in sorted(caps, key=lambda cap: cap.cap))


def _next_cap(kind: str, segment: str, currency: str, day: date) -> NextCap | None:
    """Return the next cap that is lower or higher than today's; None if none is stated."""
    today = policy.price_cap(kind, segment, currency, day)
    for begins in sorted({cap.valid_from for cap in policy.price_caps() if cap.valid_from > day}):
        then = policy.price_cap(kind, segment, currency, begins)
        if then is not None and then != today:
            return NextCap(f"{begins}", then)
    return None


def _odds_band(row: dict[str, Any]) -> OddsBand:
    if not row["decided"]:
        return OddsBand(**row, low=None, high=None)
    low, high = wilson_interval(row["approved"], row["decided"])
    return OddsBand(**row, low=round_significant(float(low)), high=round_significant(float(high)))
