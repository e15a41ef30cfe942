"""Present knowledge: what is known when a delivery is written, beyond the day that it belongs to.

A delivery of a past day may be written, or corrected, after more has become known: orders,
withdrawals, ends, pauses, smaller caps. It is judged by all of it. A row that an institution has
already stays unless the person objects to it; a row that is new to it must pass everything.

Only what was ingested counts: the lake up to its latest partition, and the newest marts.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from expectations.contracts import feeds, load
from pipelines.core import restrictions
from pipelines.core.database import query_table, run_query
from pipelines.core.home.erasures import ERASED
from pipelines.core.settings import Settings
from pipelines.deliveries.delivered_matches import tabulate_ids
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE

SQL = Path(__file__).parent / "sql"

REPLAYED_KNOWLEDGE = "replayed_knowledge.json"
"""File in the ledger of a replay: institution -> the date as of which its delivery was judged."""

DETAILS = ("product_rules", "product_fees")
"""Feeds whose rows restrict a product of the catalogue that they are sent with."""

Holds = list[dict[str, str | None]]
"""Unreadable orders: `institution_id` (None: every one), `source` as FEED/SOURCE, `landed_on`."""


def find_latest_knowledge(settings: Settings, day: date) -> date:
    """Return the date of the latest partition of the lake, `day` at least."""
    folders = [
        folder
        for feed in (*feeds(), restrictions.FEED)
        for folder in (settings.lake / feed).glob("date=*")
    ]
    return max([day, *map(_partition_date, folders)])


def find_judgement_dates(
    settings: Settings, day: date, institutions: Iterable[str]
) -> dict[date, list[str]]:
    """Return the institutions by the date as of which their delivery is judged.

    It is the latest knowledge; in a replay, the one that the published manifest states.
    """
    path = settings.ledger / REPLAYED_KNOWLEDGE
    replayed = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    latest = find_latest_knowledge(settings, day)
    by_date: dict[date, list[str]] = {}
    for name in institutions:
        as_of = date.fromisoformat(replayed[name]) if name in replayed else latest
        by_date.setdefault(as_of, []).append(name)
    return dict(sorted(by_date.items()))


def load_present_knowledge(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, as_of: date
) -> None:
    """Create the tables that deliveries of `day` are judged by.

    `later_consents`: what later files of the channel say about the leads of table `matches`.
    `present_products`: products that are closed as of `as_of`, with the reason, and their quotas;
    empty where nothing later than `day` is known.

    Args:
        connection: With `matches` and the evidence of the audit.
        settings: Where lake and marts are.
        day: The business date of the matches.
        as_of: The date up to which things are known.
    """
    marts = _find_newest_marts(settings, day, as_of)
    _create_later_view(connection, settings, "leads", after=day, until=as_of)
    for feed in ("products", "institutions"):
        _create_later_view(connection, settings, feed, after=marts, until=as_of)
    for feed in ("products", "institutions", *DETAILS):
        _create_later_view(connection, settings, feed, after=day, until=as_of, name=f"late_{feed}")
    _create_mart_views(connection, settings, day)
    run_query(connection, SQL / "later_consents.sql")
    connection.read_parquet(
        str(settings.day_folder(settings.marts, marts) / "products.parquet"),
        hive_partitioning=False,
    ).create_view("newest_products")
    _create_restrictions_table(connection, settings, "later_restrictions", after=marts, until=as_of)
    run_query(
        connection,
        SQL / "present_products.sql",
        {"day": day, "as_of": as_of},
    )


def _create_mart_views(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> None:
    """Create `mart_product_rules` and `mart_product_fees`, by which the matches were judged."""
    for feed in DETAILS:
        path = settings.day_folder(settings.marts, day) / f"{feed}.parquet"
        if path.is_file():
            relation = connection.read_parquet(str(path), hive_partitioning=False)
        else:
            names = {"when": "charged_when"}
            empty = load(feed).lake_schema.empty_table()
            empty = empty.rename_columns([names.get(name, name) for name in empty.column_names])
            relation = connection.from_arrow(empty)
        relation.create_view(f"mart_{feed}")


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    delivered: Mapping[str, Sequence[str]],
    settings: Settings,
    as_of: date,
) -> pa.Table:
    """Return the matches that institutions must not be sent now.

    Args:
        connection: With the tables of `load_present_knowledge`.
        delivered: Institution -> match ids that it already has.
        settings: The settings, for the platform's time zone.
        as_of: The date up to which things are known.

    Returns:
        `institution_id`, `match_id` and `reason` of each.
    """
    consent = policy.consent(as_of)
    connection.register("delivered_ids", tabulate_ids(delivered))
    rows = query_table(
        connection,
        SQL / "judged_rows.sql",
        {
            "every_institution": consent.every_institution,
            "oldest_consent": settings.day_start(as_of - timedelta(days=consent.longest_days)),
            "known_end": settings.day_start(as_of + timedelta(days=1)),
            "erased": ERASED,
        },
    )
    connection.unregister("delivered_ids")
    return rows


def find_ended(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the institutions that may receive no lead as of the present knowledge.

    Args:
        connection: With the tables of `load_present_knowledge`.
    """
    rows = connection.execute(
        """
        select distinct institution_id from present_products
        where closed_reason in ('not_admitted', 'unknown_institution')
        """
    ).fetchall()
    return {name for (name,) in rows}


def load_holds(
    connection: duckdb.DuckDBPyConnection, settings: Settings, as_of: date, known: set[str]
) -> Holds:
    """Return the unreadable orders, known up to `as_of`, that hold deliveries.

    An order list is not a full catalogue: the next list of a source doesn't repeat what the
    unreadable one stated. So a hold ends only when its source lands a readable file in the folder
    of the date of the unreadable one, or of an earlier date.

    Args:
        connection: Any connection.
        settings: Where the lake is.
        as_of: The date up to which things are known.
        known: Institutions that exist; an order for any other may concern each of them.
    """
    _create_restrictions_table(connection, settings, "all_restrictions", after=None, until=as_of)
    rows = connection.execute(
        """
        select distinct feed, source, trim(institution_id) as institution_id, known_on
        from all_restrictions where action = $action order by all
        """,
        {"action": restrictions.HOLD_DELIVERY},
    ).fetchall()
    return [
        {
            "institution_id": institution if institution in known else None,
            "source": f"{feed}/{source}",
            "landed_on": f"{held_on}",
        }
        for feed, source, institution, held_on in rows
        if not _is_mended(connection, settings, feed, source, held_on, as_of)
    ]


def _is_mended(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    feed: str,
    source: str,
    held_on: date,
    as_of: date,
) -> bool:
    """Return whether the source sent a readable file for the date, or an earlier one, since.

    Of a file in a misplaced folder that names no source, any source's will do.
    """
    if feed not in feeds():
        return False
    _create_later_view(connection, settings, feed, after=held_on, until=as_of)
    _create_later_quarantine(connection, settings, feed, after=held_on, until=as_of)
    (count,) = connection.execute(
        f"""
        select
            (
                select count(*) from later_{feed}
                where
                    $source in ('', {load(feed).source_column})
                    and landed_on <= $held_on
            )
            + (
                select count(*) from later_quarantine
                where
                    $source in ('', source)
                    and rule = 'duplicate'
                    and try_cast(split_part(file, '/', 3) as date) <= $held_on
            )
        """,
        {"source": source, "held_on": held_on},
    ).fetchall()[0]
    return bool(count)


def _create_later_quarantine(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    feed: str,
    *,
    after: date,
    until: date,
) -> None:
    """Create the view `later_quarantine`: a list sent again may hold known orders only.

    Its rows are duplicates then, and none is in the lake.
    """
    files = [
        str(folder / "quarantine.parquet")
        for folder in sorted((settings.quarantine / feed).glob("date=*"))
        if after < _partition_date(folder) <= until
    ]
    if files:
        relation = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
        relation.create_view("later_quarantine")
    else:
        connection.from_arrow(QUARANTINE.empty_table()).create_view("later_quarantine")


def _create_later_view(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    feed: str,
    *,
    after: date,
    until: date,
    name: str = "",
) -> None:
    """Create the view `later_FEED`: the rows that became known after one date, until another.

    Args:
        connection: Where it is created.
        settings: Where the lake is.
        feed: The feed of the rows.
        after: The date after which they became known.
        until: The date up to which they did.
        name: The view's name, if it is another one.
    """
    name = name or f"later_{feed}"
    files = [
        str(folder / f"{feed}.parquet")
        for folder in sorted((settings.lake / feed).glob("date=*"))
        if after < _partition_date(folder) <= until
    ]
    if files:
        relation = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
        relation.create_view(name)
    else:
        connection.from_arrow(load(feed).lake_schema.empty_table()).create_view(name)


def _create_restrictions_table(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    name: str,
    *,
    after: date | None,
    until: date,
) -> None:
    """Create a table of the restrictions that became known between two dates, with `known_on`."""
    schema = restrictions.SCHEMA.append(pa.field("known_on", pa.date32()))
    parts = [schema.empty_table()]
    for folder in sorted((settings.lake / restrictions.FEED).glob("date=*")):
        day, file = _partition_date(folder), folder / f"{restrictions.FEED}.parquet"
        if (after is None or after < day) and day <= until and file.is_file():
            table = pq.read_table(file, partitioning=None).select(restrictions.SCHEMA.names)
            known_on = pa.array([day] * len(table), pa.date32())
            parts.append(table.cast(restrictions.SCHEMA).append_column("known_on", known_on))
    connection.register(name, pa.concat_tables(parts))


def _find_newest_marts(settings: Settings, day: date, as_of: date) -> date:
    """Return the date of the newest published marts from `day` to `as_of`."""
    published = [
        _partition_date(folder)
        for folder in settings.marts.glob("date=*")
        if (folder / "products.parquet").is_file()
    ]
    return max([day, *(found for found in published if day <= found <= as_of)])


@cache
def _parse_date(text: str) -> date:
    return date.fromisoformat(text)


def _partition_date(folder: Path) -> date:
    return _parse_date(folder.name.removeprefix("date="))
