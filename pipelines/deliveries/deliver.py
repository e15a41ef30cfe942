"""Deliver step of a day: give each institution its matched leads, its columns, with consent.

A delivered file never changes. If a day is run again with another result, the institution gets a
new file, `leads.v2.csv`, that replaces the one before; the same result changes nothing. The
manifest lists the matches that a correction retracts. Each file is judged by what is known when it
is written, and an order list that can't be read holds each delivery that it could concern. Personal
columns come from the lake only, and the last gate checks the bytes of each file before it leaves.
"""

from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.errors import DeliveryOnHold
from pipelines.core.evidence.sign_offs import find_hold
from pipelines.core.publishing import MANIFEST, hash_inputs, read_manifest, restore
from pipelines.core.settings import Settings
from pipelines.deliveries.delivered_matches import record_delivered
from pipelines.deliveries.going_live import find_released, list_recent
from pipelines.deliveries.institution_delivery import (
    DayDeliveries,
    DeliveryResult,
    Facts,
    read_delivered_ids,
)
from pipelines.deliveries.last_gate.gate import LastGate
from pipelines.deliveries.outcome_receipts import (
    list_institutions,
    load_receipts,
    publish_receipts,
)
from pipelines.deliveries.person_orders import load_person_orders
from pipelines.deliveries.present_knowledge import (
    find_judgement_dates,
    find_latest_knowledge,
    judge_rows,
    load_holds,
    load_present_knowledge,
)
from pipelines.deliveries.recipient import Recipient
from pipelines.deliveries.signatures import sign_manifests
from pipelines.matches.shadow_price_text import load_product_prices

INSTITUTIONS_PER_SHARD = 250
"""Each shard reads the leads and orders that count: of a million and 4.7 million in 18 s."""

PRICES_NOTE = (
    "Of quota and budget the value that the day's matches would gain in all, to first order; of a "
    "rule what your own result after fees would gain under today's quota. Each for one limit at a "
    "time."
)


def plan_shards(settings: Settings, day: date) -> list[dict[str, Any]]:
    """Return the institutions to deliver to, in shards.

    They are the institutions matched on `day`, the ones that already have a delivery for the day
    and may need a correction, and (`receipts`) the ones whose outcome files were taken in on it.

    Raises:
        InputMissing: The day's matches are not published.
        DeliveryOnHold: They wait for an officer's decision, or the officer refused them.
    """
    folder = settings.day_folder(settings.matches, day)
    read_manifest(folder)
    if hold := find_hold(settings, day):
        raise DeliveryOnHold(hold.message)
    matched = pq.read_table(folder / "matches.parquet", columns=["institution_id"])
    delivered = _list_delivered(settings.day_folder(settings.outbox, day))
    with_leads = delivered.union(matched["institution_id"].unique().to_pylist())
    names = sorted(with_leads.union(list_institutions(settings, day)))
    chunks = [
        names[first : first + INSTITUTIONS_PER_SHARD]
        for first in range(0, len(names), INSTITUTIONS_PER_SHARD)
    ]
    return [
        {"institutions": [name for name in chunk if name in with_leads], "receipts": chunk}
        for chunk in chunks
    ]


def deliver(settings: Settings, day: date, shard: dict[str, Any]) -> dict[str, Any]:
    """Publish the lead files of one shard below `outbox/date=day`.

    Returns:
        Institutions delivered, unchanged and held back; leads delivered; and the messages about
        institutions whose file was not sent.

    Raises:
        InputMissing: The day's matches, marts or leads are not published.
    """
    read_from = hash_inputs(
        settings.day_folder(settings.matches, day),
        settings.day_folder(settings.lake / "leads", day),
        home=settings.home,
    )
    receipts = load_receipts(settings, day, shard["receipts"])
    prices = load_price_feedback(settings, day)
    results = []
    for as_of, names in find_judgement_dates(settings, day, shard["institutions"]).items():
        with connect(settings) as connection:
            load_delivery_tables(connection, settings, day, as_of, names)
            recipients = _load_recipients(connection)
            holds = load_holds(connection, settings, as_of, _list_known(connection))
            gate = LastGate.prepare(connection, settings, day, as_of, names)
            deliveries = DayDeliveries(
                settings, day, as_of, connection, gate, read_from, holds, prices
            )
            results += deliveries.deliver(
                [recipients.get(name) or deliveries.former_recipient(name) for name in names]
            )
    receipt_count = publish_receipts(settings, day, shard["receipts"], receipts)
    record_delivered(settings, day, shard["institutions"])
    sign_manifests(settings, day, shard["receipts"])
    return _summarise(results) | {"receipts": receipt_count}


def deliver_released(settings: Settings, day: date, back: int) -> list[date]:
    """Deliver what was held until its institution had acknowledged a test delivery.

    Args:
        settings: Settings of the home.
        day: The present business date.
        back: So many dates before it are looked at.

    Returns:
        The dates of which a lead file was published now.
    """
    found = []
    for of, names in find_released(settings, list_recent(day, back)):
        if deliver(settings, of, {"institutions": names, "receipts": names})["delivered"]:
            found.append(of)
    return found


def find_held_today(settings: Settings, day: date) -> dict[str, dict[str, list[str]]]:
    """Return the delivered rows of `day` that would be held back today.

    Returns:
        Institution -> reason -> match ids in its newest file that present knowledge excludes. They
        are judged like new rows, and nothing is written.

    Raises:
        InputMissing: The day's matches or marts are not published.
    """
    names = sorted(_list_delivered(settings.day_folder(settings.outbox, day)))
    as_of = find_latest_knowledge(settings, day)
    found: dict[str, dict[str, list[str]]] = {}
    with connect(settings) as connection:
        load_delivery_tables(connection, settings, day, as_of, names)
        outbox = settings.day_folder(settings.outbox, day)
        delivered = {name: set(read_delivered_ids(outbox / name)) for name in names}
        for row in judge_rows(connection, {}, settings, as_of).to_pylist():
            if row["match_id"] in delivered[row["institution_id"]]:
                reasons = found.setdefault(row["institution_id"], {})
                reasons.setdefault(row["reason"], []).append(row["match_id"])
    return found


def load_price_feedback(settings: Settings, day: date) -> dict[str, Facts]:
    """Return institution -> shadow prices of its own products, for its manifest.

    `prices` has an entry for each product, with `words`; `floors_short` has the leads that the
    institution was promised and cannot get, if there are any. Prices of other institutions and the
    platform's own limits (pacing, exposure) are confidential.

    Raises:
        InputMissing: The day's matches are not published.
    """
    matches, marts = (settings.day_folder(root, day) for root in (settings.matches, settings.marts))
    short_floors = read_manifest(matches).get("floors_short", [])
    feedback: defaultdict[str, Facts] = defaultdict(
        lambda: {
            "prices": [],
            "prices_currency": policy.base_currency(),
            "prices_note": PRICES_NOTE,
        }
    )
    for product in load_product_prices(matches, marts):
        facts = asdict(product) | {
            "guarantees": [*map(asdict, product.guarantees)],
            "rules": [*map(asdict, product.rules)],
            "words": product.sentences,
        }
        owner = facts.pop("institution_id")
        feedback[owner]["prices"].append(facts)
    for floor in short_floors:
        owner = floor.get("institution_id")
        if owner is not None:
            own = {name: value for name, value in floor.items() if name != "institution_id"}
            feedback[owner].setdefault("floors_short", []).append(own)
    return dict(feedback)


def _list_delivered(outbox: Path) -> set[str]:
    """Return the institutions with a delivery for the day, after restoring interrupted ones."""
    for beside in outbox.glob(".*.previous"):
        restore(outbox / beside.name.removeprefix(".").removesuffix(".previous"))
    return {
        path.parent.name
        for path in outbox.glob(f"*/{MANIFEST}")
        if not path.parent.name.startswith(".")
    }


def load_delivery_tables(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    day: date,
    as_of: date,
    names: list[str],
) -> None:
    """Create `matches` of these institutions, `mart_products` and what they are judged by."""
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
    load_person_orders(connection, settings, day, as_of)
    load_present_knowledge(connection, settings, day, as_of)


def _list_known(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the institutions of the catalogue."""
    rows = connection.execute("select distinct institution_id from mart_products").fetchall()
    return {name for (name,) in rows}


def _load_recipients(connection: duckdb.DuckDBPyConnection) -> dict[str, Recipient]:
    """Return the recipient of every institution with a product in the catalogue."""
    rows = connection.sql(
        """
        select distinct on (institution_id)
            institution_id, format, delivery, fields, public_key
        from mart_products
        where format is not null
        order by institution_id, product_id
        """
    ).fetchall()
    return {
        name: Recipient(name, file_format, delivery, tuple(fields or ()), key or None)
        for name, file_format, delivery, fields, key in rows
    }


def _summarise(results: list[DeliveryResult]) -> dict[str, Any]:
    """Return the counts of a shard."""
    outcomes = Counter(result.outcome for result in results)
    return {
        "institutions": len(results),
        "delivered": outcomes["delivered"],
        "unchanged": outcomes["unchanged"],
        "held_back": outcomes["held_back"],
        "leads": sum(result.rows for result in results if result.outcome != "held_back"),
        "messages": [result.message for result in results if result.message],
    }
