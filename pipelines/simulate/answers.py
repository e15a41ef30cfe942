"""Simulated institutions answer a delivery: receipts, returns, disputes, and claims of their own.

Not every institution is careful: by seeded shares a receipt is late, lost or has a wrong hash, and
an institution reports leads that it never received. The same deliveries give the same files.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from pipelines.core.database import connect, query_table
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.delivered_matches import read_version_ids
from pipelines.deliveries.going_live import list_tests
from pipelines.deliveries.ledger.delivery_versions import (
    LISTED_UNDER,
    DeliveryVersion,
    list_institutions,
    read_versions,
)
from pipelines.simulate.truth import load_simulated_market

SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True)
class AnswerShares:
    """Shares of deliveries, and of delivered leads, that are answered in some way."""

    lost: float = 0.05
    """Of deliveries: no receipt is sent."""
    late: float = 0.1
    """The receipt comes after the days that the policy allows."""
    wrong_hash: float = 0.03
    """The receipt names the bytes of another file."""
    refused: float = 0.02
    returned: float = 0.04
    """Of delivered leads."""
    disputed: float = 0.005
    never_received: float = 0.01
    """Of delivered leads: as many outcomes name a match that does not exist."""


def answer_deliveries(
    settings: Settings,
    day: date,
    last: date | None = None,
    shares: AnswerShares = AnswerShares(),
) -> dict[str, int]:
    """Land receipts, returns and disputes of the outbox of `day`, each on its own later date.

    Args:
        settings: Home of the market.
        day: The business date that was delivered.
        last: The last date to write for; None: all are written.
        shares: How institutions answer.

    Returns:
        Number of `receipts` and of `returns` (disputes and claims among them).

    Raises:
        InputMissing: The home was not simulated, or the outbox of `day` is empty.
    """
    seed = load_simulated_market(settings).world.seed
    institutions = list_institutions(settings, day)
    if not institutions:
        raise InputMissing(
            f"Nothing was delivered on {day}: its outbox holds no {MANIFEST}. No answer was "
            f"written. Run the day first: python -m pipelines run --date {day}"
        )
    versions = [
        version
        for name in institutions
        for prefix in LISTED_UNDER
        for version in read_versions(settings, day, name, prefix)
    ]
    with connect(settings) as connection:
        parameters = {"seed": f"{seed}", "day": day, "zone": settings.time_zone}
        of_receipts = {
            "late_days": policy.deliveries().receipt_days + 2,
            **{name: getattr(shares, name) for name in ("lost", "late", "wrong_hash", "refused")},
        }
        of_leads = {
            name: getattr(shares, name) for name in ("returned", "disputed", "never_received")
        }
        connection.register("versions", _to_table(settings, day, versions))
        receipts = query_table(connection, SQL / "receipts.sql", parameters | of_receipts)
        _register_matches(connection, settings, day, institutions)
        returns = query_table(connection, SQL / "returns.sql", parameters | of_leads)
    written = {"receipts": receipts, "outcomes": returns}
    counts = {
        feed: _land(settings, feed, f"answers-{day}", table, last)
        for feed, table in written.items()
    }
    return {"receipts": counts["receipts"], "returns": counts["outcomes"]}


def _to_table(settings: Settings, day: date, versions: list[DeliveryVersion]) -> pa.Table:
    """Return what institutions have of `day`: versions, and test deliveries."""
    rows = [
        {
            "institution_id": version.institution_id,
            "delivery_id": version.delivery_id,
            "version": version.version,
            "sha256": min(version.hashes),
            "rows": version.rows,
        }
        for version in versions
    ] + [
        {
            "institution_id": name,
            "delivery_id": test.delivery_id,
            "version": 1,
            "sha256": test.sha256,
            "rows": 1,
        }
        for name, test in list_tests(settings, day)
    ]
    texts = [(name, pa.string()) for name in ("institution_id", "delivery_id", "sha256")]
    return pa.Table.from_pylist(
        rows, pa.schema([*texts, ("version", pa.int64()), ("rows", pa.int64())])
    )


def _register_matches(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, names: list[str]
) -> None:
    """Create `matches`: the ids in the newest lead files, with product and institution."""
    outbox = settings.day_folder(settings.outbox, day)
    ids = [
        match_id
        for name in names
        for version in read_manifest(outbox / name)["deliveries"][-1:]
        for match_id in read_version_ids(outbox / name, version)
    ]
    connection.register("newest", pa.table({"match_id": pa.array(ids, pa.string())}))
    file = settings.day_folder(settings.matches, day) / "matches.parquet"
    connection.read_parquet(str(file), hive_partitioning=False).create_view("published")
    connection.execute(
        "create view matches as select match_id, institution_id, product_id from published "
        "semi join newest using (match_id)"
    )


def _land(settings: Settings, feed: str, name: str, table: pa.Table, last: date | None) -> int:
    """Write the rows of each institution and date as a file of `landing/`; return their number."""
    written = 0
    keys = table.select(["source", "landed_on"]).group_by(["source", "landed_on"]).aggregate([])
    for source, landed_on in sorted(zip(*map(pa.ChunkedArray.to_pylist, keys), strict=True)):
        if last is not None and landed_on > last:
            continue
        own = table.filter(
            pc.and_(pc.equal(table["source"], source), pc.equal(table["landed_on"], landed_on))
        )
        file = settings.landing / feed / source / f"{landed_on}" / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        lead_file.write(own.drop_columns(["source", "landed_on"]), file)
        written += own.num_rows
    return written
