"""Losses between the sources and the day: files, dates, sources and columns that are missing."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from expectations import policy
from expectations.contracts import Contract, feeds, load
from pipelines.core.database import run_query
from pipelines.core.formats import count, share
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.core.translation import join, plural, text
from pipelines.evaluation.counted_outcomes import (
    create_counted_outcomes_view,
    find_marts,
)
from pipelines.ingest.waiting import read_waiting_files
from pipelines.matches.stage_labels import describe_detail
from pipelines.reports.sections.intake import load_unknown_columns
from pipelines.reports.verdict import MAX_PLACES, Finding, make_finding, name_places

SQL = Path(__file__).parent / "sql"
MAX_SOURCES = 5
"""Sources that the finding on lost leads names, the largest loss first."""
MAX_DAYS_NEVER_RUN = 30
"""Days back in which dates that were never run are looked for."""
HISTORY_KIND = "history_kind"
"""Column of a feed that may have been loaded as history from before Banyan."""
WAITING = {"ahead": "files_far_ahead", "late": "files_waiting"}
UNREAD = {"unfinished": "files_unfinished", "folder": "folder_named_as_file"}
"""State of files in landing/ -> the rule of the verdict."""


def find_waiting(
    settings: Settings, day: date, _connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield one finding for each state of files that no run has read, and for failed dates."""
    waiting = read_waiting_files(settings, day)
    for state, rule in WAITING.items():
        rows = [row for row in waiting if row.state == state]
        if rows:
            places = [f"{row.feed}/{row.source}/{row.date}" for row in rows]
            yield make_finding(
                rule,
                name_places(f"landing/{place}" for place in places),
                amount=sum(row.files for row in rows),
                where=name_places(places),
            )
    for state, rule in UNREAD.items():
        paths = [row for row in waiting if row.state == state]
        if paths:
            yield make_finding(
                rule,
                join(
                    (
                        text("{path} since {since}", path=f"landing/{row.path}", since=row.since)
                        for row in sorted(paths, key=lambda row: row.path)
                    ),
                    ", ",
                    limit=MAX_PLACES,
                ),
                amount=len(paths),
                where=name_places(row.path for row in paths),
            )
    if failed := [row for row in waiting if row.state == "failed"]:
        yield make_finding(
            "earlier_date_failed",
            name_places(f"step_failures/date={row.date}" for row in failed),
            amount=len(failed),
            where=name_places(f"{row.date}: {row.path}" for row in failed),
        )


def find_empty_day(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield a finding if no file, no lead or no match belongs to the day."""
    counts = read_manifest(settings.day_folder(settings.lake / "leads", day))["counts"]
    received = sum(source["received"] for source in counts.values())
    ledger = settings.ledger / f"date={day}.jsonl"
    if not ledger.is_file() or not ledger.read_text("utf-8").strip():
        yield make_finding(
            "day_empty", text("no file is in {ledger}", ledger=f"ledger/date={day}.jsonl"), amount=0
        )
    elif not received:
        yield _make_no_leads_finding(settings, day)
    manifest = settings.day_folder(settings.matches, day)
    if received and (manifest / MANIFEST).is_file():
        matching = read_manifest(manifest)
        if not matching["matches"]:
            stages = _describe_stages(settings, day, connection)
            yield make_finding(
                "leads_without_match",
                text(
                    "{unmatched} unmatched, {quarantined} quarantined, {suppressed} suppressed; "
                    "{stages}",
                    unmatched=count(matching["unmatched"]),
                    quarantined=count(matching["quarantined"]),
                    suppressed=count(matching["suppressed"]),
                    stages=stages,
                ),
                amount=matching["received"],
                leads=plural(matching["received"], "lead"),
                stages=stages,
            )


def _make_no_leads_finding(settings: Settings, day: date) -> Finding:
    """Return the finding on a day without leads; it is graver where earlier days had some."""
    days = policy.verdict_rules()["no_leads_today"].limits["max_days"]
    earlier = [
        (other, received)
        for other in _list_days(settings.lake / "leads", day)
        if day - other <= timedelta(days=days)
        and (received := sum(_count_received(settings, other).values()))
    ]
    if not earlier:
        return make_finding("no_leads", "", amount=0)
    last, received = max(earlier)
    return make_finding(
        "no_leads_today",
        text(
            "leads came on {dates} of the last {days}, the last {received} on {last}",
            dates=plural(len(earlier), "date"),
            days=f"{days:.0f}",
            received=count(received),
            last=f"{last}",
        ),
        amount=0,
        last=f"{last}",
        received=count(received),
    )


def _describe_stages(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> str:
    """Return the stages at which most unmatched leads fell out, in words."""
    path = settings.day_folder(settings.unmatched, day) / "unmatched.parquet"
    rows = run_query(connection, SQL / "unmatched_by_detail.sql", {"unmatched": str(path)})
    return join(
        join([count(leads), describe_detail(detail)], " ") for detail, leads in rows.fetchall()
    )


def find_lost_leads(
    settings: Settings, day: date, _connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield a finding if a large share of the day's leads is in quarantine or in refused files.

    Of a source whose files could not be counted, because they were refused, its usual leads of a
    day are lost: the mean of its last days.
    """
    rules = policy.verdict_rules()
    limits = rules["leads_lost"].limits
    before = [
        _count_received(settings, other)
        for other in _list_days(settings.lake / "leads", day)
        if day - other <= timedelta(days=limits["max_days"])
    ]
    lost: dict[str, int] = {}
    total = 0
    for source, counts in _read_counts(settings, "leads", day).items():
        usual = [sent[source] for sent in before if sent.get(source)]
        missing = 0
        if counts.get("rejected_files") and usual:
            missing = max(0, round(sum(usual) / len(usual)) - counts["received"])
        lost[source] = counts.get("quarantined", 0) + missing
        total += counts["received"] + missing
    leads = sum(lost.values())
    for rule in ("leads_mostly_lost", "leads_lost"):
        limits = rules[rule].limits
        if leads >= limits["min_leads"] and leads > limits["max_share"] * total:
            ranked = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
            named = [(source, number) for source, number in ranked if number]
            yield make_finding(
                rule,
                join(
                    [
                        *(f"{source}: {count(number)}" for source, number in named[:MAX_SOURCES]),
                        text("{leads} leads were sent or expected", leads=count(total)),
                    ]
                ),
                amount=leads,
                where=", ".join(source for source, _ in named[:MAX_SOURCES]),
                leads=text(
                    "{lost} of {leads} ({share})",
                    lost=count(leads),
                    leads=plural(total, "lead"),
                    share=share(leads, total),
                ),
            )
            return


def find_leads_never_run(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the leads of earlier dates that were never matched.

    Before the first run of the home, leads of which outcomes are known are history: they were sent
    by other means, and only the first run names them.
    """
    matched = sorted(_list_days(settings.matches, day))
    first = matched[0] if matched else day
    dates = {
        other: loaded
        for other in _list_days(settings.lake / "leads", day)
        if other not in matched
        and day - other <= timedelta(days=MAX_DAYS_NEVER_RUN)
        and (loaded := _count_loaded(settings, other))
    }
    before = [other for other in dates if other < first]
    history = _find_history(settings, day, before, connection) if before else set()
    never = {other: leads for other, leads in dates.items() if other not in history}
    if never:
        yield _make_dates_finding("leads_never_run", never)
    if history and first == day:
        yield _make_dates_finding("history_not_matched", {each: dates[each] for each in history})


def _make_dates_finding(rule: str, leads: dict[date, int]) -> Finding:
    dates = sorted(leads)
    span = text("{first} to {last}", first=f"{dates[0]}", last=f"{dates[-1]}")
    return make_finding(
        rule,
        join([plural(len(dates), "date"), span if dates[1:] else f"{dates[0]}"], ": "),
        amount=sum(leads.values()),
        where=name_places(f"lake/leads/date={each}" for each in dates),
    )


def _find_history(
    settings: Settings, day: date, dates: list[date], connection: duckdb.DuckDBPyConnection
) -> set[date]:
    """Return the dates of whose leads an outcome is known that counts."""
    if find_marts(settings, day) is None:
        return set()
    create_counted_outcomes_view(connection, settings, day)
    files = [
        str(settings.day_folder(settings.lake / "leads", other) / "leads.parquet")
        for other in dates
    ]
    rows = run_query(connection, SQL / "files_with_outcomes.sql", {"leads": files}).fetchall()
    return {date.fromisoformat(Path(name).parent.name.removeprefix("date=")) for (name,) in rows}


def find_silent_sources(
    settings: Settings, day: date, _connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the sources that sent on most of the days before and nothing today."""
    limits = policy.verdict_rules()["source_silent"].limits
    silent = []
    for feed in feeds():
        dates = [
            other
            for other in _list_days(settings.lake / feed, day)
            if day - other <= timedelta(days=limits["max_days"])
        ]
        if len(dates) < limits["min_days"]:
            continue
        sent: dict[str, int] = defaultdict(int)
        for other in dates:
            for source in _list_senders(settings, feed, other):
                sent[source] += 1
        today = _list_senders(settings, feed, day)
        silent += [
            text(
                "{source} (on {days} of {all} days before)",
                source=f"{feed}/{source}",
                days=days,
                all=len(dates),
            )
            for source, days in sent.items()
            if days >= limits["min_days"]
            and days >= limits["min_share"] * len(dates)
            and source not in today
        ]
    if silent:
        yield make_finding(
            "source_silent", amount=len(silent), where=join(sorted(silent), ", ", limit=MAX_PLACES)
        )


def find_missing_columns(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the columns that a source filled in the days before and leaves empty today."""
    limits = policy.verdict_rules()["column_missing"].limits
    missing = []
    for feed in feeds():
        contract = load(feed)
        folders = [settings.day_folder(settings.lake / feed, day)]
        dates = sorted(_list_days(settings.lake / feed, day))
        before = [
            settings.day_folder(settings.lake / feed, other)
            for other in dates
            if day - other <= timedelta(days=limits["max_days"])
        ]
        if not before or not (folders[0] / MANIFEST).is_file():
            continue
        now = _count_values(connection, contract, folders)
        empty = {
            (source, column)
            for source, columns in now.items()
            for column, filled in columns.items()
            if columns[""] >= limits["min_rows"] and not filled
        }
        if not empty:
            continue
        earlier = _count_values(connection, contract, before)
        missing += [
            f"{feed}/{source}: {column}"
            for source, column in sorted(empty)
            if (columns := earlier.get(source))
            and columns[""] >= limits["min_rows"]
            and columns[column] >= limits["min_share"] * columns[""]
        ]
    if missing:
        yield make_finding(
            "column_missing",
            _describe_new_columns(settings, day, missing),
            amount=len(missing),
            where=name_places(missing),
        )


def _describe_new_columns(settings: Settings, day: date, missing: list[str]) -> str:
    """Return the unknown columns of sources that lost a column: it may have been renamed."""
    sources = {place.partition(":")[0] for place in missing}
    return join(
        text(
            "{source} sends unknown columns: {columns}",
            source=f"{row.feed}/{row.source}",
            columns=", ".join(row.columns),
        )
        for row in load_unknown_columns(settings, day)
        if f"{row.feed}/{row.source}" in sources
    )


def _count_values(
    connection: duckdb.DuckDBPyConnection, contract: Contract, folders: list[Path]
) -> dict[str, dict[str, int]]:
    """Return source -> optional column -> rows with a value; the column "" counts all rows.

    History that `import` or `simulate` wrote in a lender's name doesn't count: the lender itself
    may name its leads otherwise.
    """
    names = [column.name for column in contract.columns if not column.required]
    files = [str(folder / f"{contract.feed}.parquet") for folder in folders]
    rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
    sent = set(rows.columns)  # files of an earlier version lack the columns that are newer
    values = (f'count("{name}")' if name in sent else "0" for name in names)
    counts = ", ".join(["count(*)", *values])
    if HISTORY_KIND in contract.lake_schema.names:
        rows = rows.filter(f"{HISTORY_KIND} is null")
    grouped = rows.aggregate(f"{contract.source_column}, {counts}", contract.source_column)
    return {
        source: dict(zip(["", *names], numbers, strict=True))
        for source, *numbers in grouped.fetchall()
    }


def _list_days(root: Path, before: date) -> list[date]:
    """Return the dates before `before` of which `root` has a published folder."""
    dates = [
        date.fromisoformat(path.parent.name.removeprefix("date="))
        for path in root.glob(f"date=*/{MANIFEST}")
    ]
    return sorted(each for each in dates if each < before)


def _list_senders(settings: Settings, feed: str, day: date) -> set[str]:
    """Return the sources of which a file was received for `day`, read or refused."""
    return {
        source
        for source, counts in _read_counts(settings, feed, day).items()
        if counts.get("files") or counts.get("copies")
    }


def _count_received(settings: Settings, day: date) -> dict[str, int]:
    """Return channel -> leads received for `day`."""
    counts = _read_counts(settings, "leads", day)
    return {source: stated["received"] for source, stated in counts.items()}


def _count_loaded(settings: Settings, day: date) -> int:
    return sum(counts["loaded"] for counts in _read_counts(settings, "leads", day).values())


def _read_counts(settings: Settings, feed: str, day: date) -> dict[str, dict[str, Any]]:
    path = settings.day_folder(settings.lake / feed, day) / MANIFEST
    if not path.is_file():
        return {}
    counts: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")).get("counts", {})
    return counts
