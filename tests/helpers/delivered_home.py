"""A small home after deliveries: lake, marts, matches and outbox, for tests of what comes back.

Everything is written in the form in which the steps publish it, by hand and without models.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from pipelines.core.publishing import publishing, read_manifest, sha256, write_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.delivered_matches import record_delivered
from tests.helpers.lake import Row, at, write_feed
from tests.helpers.mart_schemas import SCHEMAS

FIRST = date(2026, 3, 2)
PRODUCTS = (
    {"institution_id": "bank-a", "product_id": "lead", "price_model": "cpl", "price": 20.05},
    {"institution_id": "bank-a", "product_id": "yes", "price_model": "cpa", "price": 90.0},
    {"institution_id": "bank-b", "product_id": "share", "price_model": "cps", "price": 0.0215},
)
"""Products of a small market, all in CNY."""


def match(number: int, institution: str, product: str, **changes: Any) -> Row:
    """Return the match of lead `L<number>` of channel `search`, with `changes`."""
    return {
        "match_id": f"m{number}-{institution}-{product}",
        "channel_id": "search",
        "lead_id": f"L{number}",
        "institution_id": institution,
        "product_id": product,
    } | changes


def write_marts_of(settings: Settings, day: date, outcomes: Iterable[Row] = ()) -> None:
    """Publish the marts `products` and `outcomes` of `day`."""
    terms = [{"currency": "CNY"} | product for product in PRODUCTS]
    rows = {
        "products": [_fill(SCHEMAS["products"], row) for row in terms],
        "outcomes": [_fill(SCHEMAS["outcomes"], row) for row in outcomes],
    }
    with publishing(settings.day_folder(settings.marts, day), {"inputs": {}}) as folder:
        for name, table in rows.items():
            write_parquet(pa.Table.from_pylist(table, SCHEMAS[name]), folder / f"{name}.parquet")


def outcome(of: Row, event: str, time: str, **changes: Any) -> Row:
    """Return an outcome that counts, of the match `of`, at a time such as `2026-03-03 10:00`."""
    names = ("channel_id", "lead_id", "institution_id", "product_id")
    times = dict.fromkeys(("event_at", "recorded_at", "known_at"), at(time))
    return {name: of[name] for name in names} | {"event": event} | times | changes


def write_matches_of(settings: Settings, day: date, matches: Iterable[Row]) -> None:
    """Publish `matches/` and `unmatched/` of `day`."""
    names = ("match_id", "channel_id", "lead_id", "institution_id", "product_id")
    table = pa.Table.from_pylist(list(matches), pa.schema([(n, pa.string()) for n in names]))
    with publishing(settings.day_folder(settings.matches, day), {}) as folder:
        write_parquet(table, folder / "matches.parquet")
    nothing = pa.schema([(n, pa.string()) for n in ("channel_id", "lead_id", "stage", "detail")])
    with publishing(settings.day_folder(settings.unmatched, day), {}) as folder:
        write_parquet(nothing.empty_table(), folder / "unmatched.parquet")


def deliver_file(
    settings: Settings,
    day: date,
    institution: str,
    ids: Iterable[str],
    transport: str = "folder",
) -> Row:
    """Publish the next version of a lead file with the matches `ids`; return its facts."""
    folder = settings.day_folder(settings.outbox, day) / institution
    manifest = read_manifest(folder) if folder.is_dir() else {"deliveries": []}
    versions = manifest["deliveries"]
    number = len(versions) + 1
    name = "leads.csv" if number == 1 else f"leads.v{number}.csv"
    ids = sorted(ids)
    kept = {version["file"]: (folder / version["file"]).read_bytes() for version in versions}
    facts = {"institution_id": institution, "state": "delivered", "held_back": 0, "retracted": []}
    facts["delivery"] = transport
    entry: Row = {"version": number, "file": name, "rows": len(ids), "judged_as_of": f"{day}"}
    facts |= {"judged_as_of": f"{day}", "deliveries": [*versions, entry], "version": number}
    facts["rows"] = len(ids)
    with publishing(folder, facts) as fresh:
        for file, content in kept.items():
            (fresh / file).write_bytes(content)
        columns = {"match_id": pa.array(ids, pa.string()), "phone": ["+8613800138000"] * len(ids)}
        lead_file.write(pa.table(columns), fresh / name)
        entry["sha256"] = sha256(fresh / name)
    record_delivered(settings, day, [institution])
    return entry


def write_delivered_day(
    settings: Settings, day: date, matches: list[Row], *, transport: str = "folder", **lake: Any
) -> None:
    """Publish a day whose matches were all delivered: leads, matches, marts and lead files."""
    leads = lake.pop("leads", None) or [
        {"channel_id": row["channel_id"], "lead_id": row["lead_id"]}
        for row in {(m["channel_id"], m["lead_id"]): m for m in matches}.values()
    ]
    write_feed(settings, "leads", day, leads)
    for feed, rows in lake.items():
        write_feed(settings, feed, day, rows)
    write_matches_of(settings, day, matches)
    write_marts_of(settings, day)
    for institution in sorted({row["institution_id"] for row in matches}):
        ids = [m["match_id"] for m in matches if m["institution_id"] == institution]
        deliver_file(settings, day, institution, ids, transport)


def write_quiet_day(
    settings: Settings, day: date, outcomes: Iterable[Row] = (), **lake: Any
) -> None:
    """Publish a day without leads and matches, with the outcomes known so far and lake rows."""
    for feed, rows in lake.items():
        write_feed(settings, feed, day, rows)
    write_matches_of(settings, day, [])
    write_marts_of(settings, day, outcomes)


def receipt(settings: Settings, day: date, institution: str, **changes: Any) -> Row:
    """Return a receipt of the newest version of a delivery, as its institution sends it."""
    folder = settings.day_folder(settings.outbox, day) / institution
    newest = read_manifest(folder)["deliveries"][-1]
    return {
        "institution_id": institution,
        "delivery_id": f"{day:%Y%m%d}-{institution}",
        "version": newest["version"],
        "sha256": newest["sha256"],
        "rows": newest["rows"],
        "status": "ack",
        "at": at(f"{day + timedelta(days=1)} 08:00"),
    } | changes


def _fill(schema: pa.Schema, row: Row) -> Row:
    return {name: row.get(name) for name in schema.names}
