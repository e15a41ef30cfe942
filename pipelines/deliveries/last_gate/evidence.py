"""Evidence of the last gate: the sources, as tables of the schema `gate`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import run_query
from pipelines.core.restrictions import ORDERS, ORDERS_FEED
from pipelines.core.settings import Settings
from pipelines.deliveries.last_gate.landed_since import load_landed_since

SQL = Path(__file__).parent / "sql"

KNOWN_ON = pa.field("known_on", pa.date32())
DELIVERED = pa.schema(
    [(name, pa.string()) for name in ("match_id", "institution_id", "product_id")]
)
LAST_DATE = date(9999, 12, 31)


def load_evidence(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    day: date,
    as_of: date,
    institutions: list[str],
) -> None:
    """Create the tables of the schema `gate` for the files of `institutions` of one day.

    Args:
        connection: Where they are created.
        settings: Where the home is.
        day: The business date of the matches.
        as_of: The date up to which the lake is known.
        institutions: The recipients.
    """
    connection.execute("create schema if not exists gate")
    _load_claims(connection, settings, day, institutions)
    _load_people(connection, settings, day, as_of)
    _load_catalogues(connection, settings, day, as_of, institutions)
    _load_policies(connection, day)
    _load_month_use(connection, settings, day)
    load_landed_since(connection, settings, day, as_of)


def _load_claims(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, institutions: list[str]
) -> None:
    """Create `gate.claims`: which lead each match id is said to be, and its odds."""
    connection.execute(
        """
        create or replace table gate.claims as
        select match_id, channel_id, lead_id, institution_id, product_id, p_approve
        from read_parquet($matches, hive_partitioning = false)
        where list_contains($institutions, institution_id)
        """,
        {
            "matches": str(settings.day_folder(settings.matches, day) / "matches.parquet"),
            "institutions": institutions,
        },
    )


def _load_people(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, as_of: date
) -> None:
    """Create the leads of the claims, their persons and what these object to."""
    identity = policy.identity(day)
    window = timedelta(days=identity.same_person_days)
    _create_view(connection, settings, "leads", "gate.day_leads", first=day, last=day)
    _create_view(connection, settings, "leads", "gate.statements", first=day, last=as_of)
    _create_view(connection, settings, "leads", "gate.recent_leads", first=day - window, last=as_of)
    firms = identity.firms_of_one_owner
    since = day - timedelta(days=firms.window_days)
    _create_view(connection, settings, "leads", "gate.owner_leads", first=since, last=as_of)
    _create_view(connection, settings, "suppressions", "gate.sent_orders", last=as_of)
    _create_view(connection, settings, ORDERS_FEED, "gate.closing_orders", last=as_of)
    connection.execute(
        """
        create or replace view gate.orders as
        select subject_type, subject, reason, institution_id, effective_at from gate.sent_orders
        union all
        select
            subject_type, subject, reason, institution_id,
            timestamptz '1970-01-01 00:00:00+00' as effective_at
        from gate.closing_orders
        """
    )
    dates = {"day": day, "as_of": as_of}
    limits = {"are_one": firms.are == "one", "max_firms": firms.max_firms}
    run_query(connection, SQL / "owners.sql", dates | limits)
    run_query(connection, SQL / "owned_firms.sql")
    run_query(connection, SQL / "leads.sql", {"day": day})
    max_phones = identity.max_phones_per_person
    run_query(connection, SQL / "persons.sql", {"as_of": as_of, "max_phones": max_phones})
    run_query(connection, SQL / "subjects.sql")
    known_end = settings.day_start(as_of + timedelta(days=1))
    run_query(connection, SQL / "objections.sql", {"known_end": known_end})


def _load_catalogues(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    day: date,
    as_of: date,
    institutions: list[str],
) -> None:
    """Create `gate.catalogue`, `gate.admissions`, `gate.agreements` and what loans cost."""
    caps = [
        (each.kind, each.segment, each.currency, each.cap, each.valid_from, each.valid_to)
        for each in policy.price_caps()
    ]
    names = ("kind", "segment", "currency", "cap", "valid_from", "valid_to")
    types = (*(pa.string(),) * 3, pa.float64(), *(pa.date32(),) * 2)
    _create_table(connection, "gate.caps", names, types, caps)
    connection.execute("update gate.caps set valid_to = $1 where valid_to is null", [LAST_DATE])
    for feed in ("products", "product_fees", "institutions"):
        _create_view(connection, settings, feed, f"gate.all_{feed}", last=as_of)
    # a list without an institution ends its admission, so the lists are loaded whole
    connection.execute("create or replace table gate.institutions as from gate.all_institutions")
    for feed in ("products", "product_fees"):
        connection.execute(
            f"create or replace table gate.{feed} as from gate.all_{feed} "
            "where list_contains($institutions, institution_id)",
            {"institutions": institutions},
        )
    dates = {"day": day, "as_of": as_of}
    run_query(connection, SQL / "admissions.sql", dates)
    run_query(connection, SQL / "catalogue.sql", dates)
    run_query(connection, SQL / "agreements.sql", {"day": day})
    _load_cost_rules(connection)
    run_query(connection, SQL / "disclosures.sql")
    run_query(connection, SQL / "costs.sql")


def _load_cost_rules(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `gate.cost_rules`: how the whole cost of a loan is stated and limited, and when."""
    rules = [
        (
            *(rule.kind, rule.segment, rule.currency),
            3 - rule.criteria.count(None),
            rule.annualisation == "compound",
            rule.cap_compares == "whole_cost",
            *("certain" in rule.fee_lines, "contingent" in rule.fee_lines),
            *(rule.valid_from, rule.valid_to or LAST_DATE),
        )
        for rule in policy.financing_costs().rules
    ]
    columns = {
        **dict.fromkeys(("kind", "segment", "currency"), pa.string()),
        "named": pa.int64(),
        **dict.fromkeys(("is_compound", "caps_whole_cost"), pa.bool_()),
        **dict.fromkeys(("needs_certain", "needs_contingent"), pa.bool_()),
        **dict.fromkeys(("valid_from", "valid_to"), pa.date32()),
    }
    _create_table(connection, "gate.cost_rules", columns, columns.values(), rules)


def _load_policies(connection: duckdb.DuckDBPyConnection, day: date) -> None:
    """Create `gate.odds`, `gate.consent_texts` and the roles that may consent for a business.

    `gate.consent_roles` has a row for each jurisdiction and role that it allows; the role of a lead
    that states none is empty.
    """
    odds = [(name, entry.of_match) for name, entry in policy.least_odds(day).items()]
    types: tuple[pa.DataType, ...] = (pa.string(), pa.float64())
    _create_table(connection, "gate.odds", ("jurisdiction", "least"), types, odds)
    texts = [
        (text.version, text.sha256, text.valid_from, text.valid_to or LAST_DATE)
        for text in policy.consent_texts().texts
    ]
    names = ("version", "sha256", "valid_from", "valid_to")
    types = (pa.string(), pa.string(), pa.date32(), pa.date32())
    _create_table(connection, "gate.consent_texts", names, types, texts)
    roles = [
        (jurisdiction, role)
        for jurisdiction, entry in policy.consent_roles_on(day).items()
        for role in (*entry.may_consent, *([""] if entry.missing_role == "allow" else []))
    ]
    types = (pa.string(), pa.string())
    _create_table(connection, "gate.consent_roles", ("jurisdiction", "role"), types, roles)


def _load_month_use(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> None:
    """Create `gate.month_use` of the products with a monthly limit; empty where there is none."""
    limited = connection.sql(
        """
        select distinct institution_id, product_id from gate.catalogue
        where coalesce(monthly_quota, monthly_budget) is not null
        """
    ).to_arrow_table()
    connection.register("limited_products", limited)
    first = day.replace(day=1)
    for name, root, pattern in (
        ("received", settings.delivered, "*.parquet"),
        ("planned", settings.matches, "matches.parquet"),
    ):
        files = [
            str(file)
            for folder in _list_folders(root, first, day - timedelta(days=1))
            for file in sorted(folder.glob(pattern))
        ]
        connection.register("no_matches", DELIVERED.empty_table())
        source = "read_parquet($files, hive_partitioning = false)" if files else "no_matches"
        connection.execute(
            f"""
            create or replace table gate.{name} as
            select match_id, institution_id, product_id from {source}
            where (institution_id, product_id) in (from limited_products)
            """,
            {"files": files} if files else None,
        )
    decisions = [
        str(file)
        for folder in _list_folders(settings.settlement, first, day - timedelta(days=1))
        for file in sorted(folder.glob("return_decisions.parquet"))
    ]
    _create_table(connection, "gate.returned", ("match_id",), (pa.string(),), ())
    if decisions:
        connection.execute(
            """
            insert into gate.returned
            select distinct match_id
            from read_parquet($files, hive_partitioning = false)
            where decision = 'accepted'
            """,
            {"files": decisions},
        )
    run_query(connection, SQL / "month_use.sql")


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    feed: str,
    name: str,
    *,
    first: date = date.min,
    last: date,
) -> None:
    """Create a view of a feed's partitions between two dates, with `known_on` of each row.

    Columns that older partitions lack are null.
    """
    schema = ORDERS if feed == ORDERS_FEED else load(feed).lake_schema
    bare = name.rpartition(".")[2]
    connection.register(f"no_{bare}", schema.append(KNOWN_ON).empty_table())
    folders = _list_folders(settings.lake / feed, first, last)
    parts = [f"select * from no_{bare}"]
    for files in _group_files(folders, f"{feed}.parquet"):
        paths = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        parts.append(
            "select * exclude (filename), cast(regexp_extract(filename, "
            "'date=([0-9-]{10})', 1) as date) as known_on "
            f"from read_parquet([{paths}], hive_partitioning = false, union_by_name = true, "
            "filename = true)"
        )
    connection.execute(f"create or replace view {name} as {' union all by name '.join(parts)}")


def _group_files(folders: Iterable[Path], name: str) -> Iterator[list[str]]:
    files = [str(folder / name) for folder in folders if (folder / name).is_file()]
    if files:
        yield files


def _list_folders(root: Path, first: date, last: date) -> list[Path]:
    """Return the partitions between two dates, by date."""
    return [
        folder
        for folder in sorted(root.glob("date=*"))
        if f"{first}" <= folder.name.removeprefix("date=") <= f"{last}"
    ]


def _create_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: Iterable[str],
    types: Iterable[pa.DataType],
    rows: Sequence[tuple[object, ...]],
) -> None:
    schema = pa.schema(list(zip(columns, types, strict=True)))
    values = [dict(zip(schema.names, row, strict=True)) for row in rows]
    connection.register("policy_rows", pa.Table.from_pylist(values, schema))
    connection.execute(f"create or replace table {name} as from policy_rows")
    connection.unregister("policy_rows")
