"""Losses of people: shut out by a shared device, by a phone's format, by a currency; orders."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import duckdb

from expectations import policy
from pipelines.core.database import run_query
from pipelines.core.formats import share
from pipelines.core.restrictions import PLATFORM
from pipelines.core.settings import Settings
from pipelines.core.translation import join, plural, text
from pipelines.reports.sections.conduct.consent import OrderSource, load_order_sources
from pipelines.reports.verdict import Finding, make_finding, name_places

SQL = Path(__file__).parent / "sql"


def find_bursts(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the channels of which a shared device or phone excludes an unusual share."""
    limits = policy.verdict_rules()["burst_share"].limits
    leads = settings.day_folder(settings.marts, day) / "leads.parquet"
    rows = run_query(connection, SQL / "bursts.sql", {"leads": str(leads)} | limits).fetchall()
    if rows:
        total = sum(excluded for _, _, excluded, _ in rows)
        yield make_finding(
            "burst_share",
            join(
                text(
                    "{channel}: {excluded} of {leads} leads ({share}), {details}",
                    channel=channel,
                    excluded=excluded,
                    leads=leads,
                    share=share(excluded, leads),
                    details=details,
                )
                for channel, leads, excluded, details in rows
            ),
            amount=total,
            where=name_places(channel for channel, *_ in rows),
            channels=plural(len(rows), "channel"),
            leads=plural(total, "lead"),
        )


def find_orders_without_effect(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the sources of suppressions of which none matches a lead of the last days.

    It is a remark if, by the rate at which other sources match, some should have matched, or if no
    order of any source matches; else it may be chance.
    """
    limits = policy.verdict_rules()["suppressions_never_match"].limits
    sources = [
        row
        for row in load_order_sources(settings, day, connection)
        if row.source != PLATFORM  # its orders are of persons that were erased
    ]
    silent = [
        row
        for row in sources
        if row.source and not row.matched and row.orders >= limits["min_orders"]
    ]
    strong: list[tuple[str, int]] = []
    weak: list[tuple[str, int]] = []
    for row in silent if silent and sources[0].leads >= limits["min_leads"] else ():
        expected = _expect_matches(row, sources)
        is_strong = expected is None or expected >= limits["min_expected"]
        (strong if is_strong else weak).append((row.source, row.orders))
    for rule, found in (("suppressions_never_match", strong), ("suppressions_no_match_yet", weak)):
        if found:
            yield make_finding(
                rule,
                join(join([source, plural(orders, "order")], ": ") for source, orders in found),
                amount=len(found),
                where=name_places(f"suppressions/{source}" for source, _ in found),
            )


def _expect_matches(row: OrderSource, sources: Sequence[OrderSource]) -> float | None:
    """Return the matches by the rate of all other sources; None if none of them matches."""
    matched = sum(other.matched for other in sources if other is not row)
    orders = sum(other.orders for other in sources if other is not row)
    return row.orders * matched / orders if matched else None


def find_misspelt_phones(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the channels of which most phones are not written in E.164."""
    limits = policy.verdict_rules()["phones_not_e164"].limits
    files = {
        "leads": str(settings.day_folder(settings.lake / "leads", day) / "leads.parquet"),
        "quarantine": str(
            settings.day_folder(settings.quarantine / "leads", day) / "quarantine.parquet"
        ),
    }
    rows = run_query(connection, SQL / "misspelt_phones.sql", files | limits).fetchall()
    if rows:
        yield make_finding(
            "phones_not_e164",
            join(
                text(
                    "{channel}: {misspelt} of {phones} phones",
                    channel=channel,
                    misspelt=misspelt,
                    phones=phones,
                )
                for channel, phones, misspelt in rows
            ),
            amount=len(rows),
            where=name_places(channel for channel, *_ in rows),
        )


def find_unknown_currencies(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the channels whose leads ask in a currency without an exchange rate."""
    limits = policy.verdict_rules()["currency_unknown"].limits
    leads = settings.day_folder(settings.lake / "leads", day) / "leads.parquet"
    parameters = {"leads": str(leads), "known": sorted(policy.currencies(day))} | limits
    rows = run_query(connection, SQL / "unknown_currencies.sql", parameters).fetchall()
    if rows:
        yield make_finding(
            "currency_unknown",
            join(
                text(
                    "{channel}: {leads} in {currency}",
                    channel=channel,
                    leads=plural(leads, "lead"),
                    currency=code,
                )
                for channel, code, leads in rows
            ),
            amount=sum(leads for *_, leads in rows),
            where=name_places(channel for channel, *_ in rows),
        )
