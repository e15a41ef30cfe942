"""Hand each institution the leads matched with it: only its columns, only with consent.

A file that was delivered never changes. Where a day is run again with another result the
institution gets a new file, `leads.v2.csv`, that replaces the one before; the same result again
changes nothing. Personal columns come from the lake alone, and each file is judged again from its
bytes before it is published.
"""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from pipelines.core.database import connect
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, hash_inputs, read_manifest, restore
from pipelines.core.settings import Settings
from pipelines.deliveries.consent_audit import load_evidence
from pipelines.deliveries.institution_delivery import Desk, Result
from pipelines.deliveries.price_feedback import told
from pipelines.deliveries.recipients import recipients

INSTITUTIONS_A_SHARD = 100


def shards(settings: Settings, day: date) -> list[dict[str, Any]]:
    """Return the institutions to deliver to, in portions.

    Those are the ones matched on `day`, and the ones that were delivered to before for the same
    day and may need a correction.

    Raises:
        InputMissing: The day's matches are not published.
    """
    folder = settings.day_folder(settings.matches, day)
    read_manifest(folder)
    matched = pq.read_table(folder / "matches.parquet", columns=["institution_id"])
    before = _served_before(settings.day_folder(settings.outbox, day))
    names = sorted(before.union(matched["institution_id"].unique().to_pylist()))
    return [
        {"institutions": names[first : first + INSTITUTIONS_A_SHARD]}
        for first in range(0, len(names), INSTITUTIONS_A_SHARD)
    ]


def deliver(settings: Settings, day: date, shard: dict[str, Any]) -> dict[str, Any]:
    """Publish the lead files of one shard below `outbox/date=day`.

    Returns:
        Institutions delivered, unchanged and held back; leads delivered; and what each
        institution that was held back is to be told.

    Raises:
        InputMissing: The day's matches, marts or leads are not published.
        IntegrityError: A file names someone whom its institution must not receive. That institution gets
            nothing; the others have been served.
    """
    read_from = hash_inputs(
        settings.day_folder(settings.matches, day),
        settings.day_folder(settings.lake / "leads", day),
        home=settings.home,
    )
    with connect(settings) as connection:
        _load(connection, settings, day, shard["institutions"])
        known = recipients(connection)
        desk = Desk(settings, day, connection, read_from, told(settings, day))
        results = [
            desk.serve(known.get(name) or desk.former_recipient(name))
            for name in shard["institutions"]
        ]
    return _summary(results, day)


def _served_before(outbox: Path) -> set[str]:
    """Return the institutions that have a delivery for the day; mends what a kill left halfway."""
    for beside in outbox.glob(".*.previous"):
        restore(outbox / beside.name.removeprefix(".").removesuffix(".previous"))
    return {
        path.parent.name
        for path in outbox.glob(f"*/{MANIFEST}")
        if not path.parent.name.startswith(".")
    }


def _load(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, names: list[str]
) -> None:
    """Create `matches` of these institutions and what is needed to deliver and to judge them."""
    connection.execute(
        """
        create table matches as
        from read_parquet($matches, hive_partitioning = false)
        where list_contains($names, institution_id)
        """,
        {
            "matches": str(settings.day_folder(settings.matches, day) / "matches.parquet"),
            "names": names,
        },
    )
    products = settings.day_folder(settings.marts, day) / "products.parquet"
    connection.read_parquet(str(products), hive_partitioning=False).create_view("mart_products")
    load_evidence(connection, settings, day)


def _summary(results: list[Result], day: date) -> dict[str, Any]:
    """Return the counts of a shard, or raise for those that were refused."""
    if refused := [result for result in results if result.outcome == "refused"]:
        raise IntegrityError(
            f"{day}: the lead files of {len(refused)} of {len(results)} institutions were not "
            f"delivered: {'; '.join(result.message for result in refused)}. The others were. "
            "Nobody may be sent without consent (expectations/policy/consent.yml) or against an "
            f"order not to. See matches/date={day} and lake/leads/date={day} for the rows; match "
            "the day again, then deliver again."
        )
    outcomes = Counter(result.outcome for result in results)
    return {
        "institutions": len(results),
        "delivered": outcomes["delivered"],
        "unchanged": outcomes["unchanged"],
        "held_back": outcomes["held_back"],
        "leads": sum(result.rows for result in results if result.outcome != "held_back"),
        "messages": [result.message for result in results if result.message],
    }
