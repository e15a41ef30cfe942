"""Land the orders of the platform: they keep a person from being matched, on every later date."""

import csv
import io
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.core.publishing import sync
from pipelines.core.restrictions import PLATFORM
from pipelines.core.settings import Settings
from pipelines.ingest.identity import normalise_id_sql, normalise_phone_sql
from pipelines.ingest.ledger import read_ledger
from pipelines.persons.subjects import Subjects


def find_open_date(settings: Settings) -> date:
    """Return the first business date that is not closed: what lands now counts from it on."""
    closed = read_ledger(settings).closed_through
    return closed + timedelta(days=1) if closed else datetime.now(settings.zone).date()


def list_order_subjects(
    connection: duckdb.DuckDBPyConnection, subjects: Subjects
) -> list[tuple[str, str]]:
    """Return type and subject of the orders that name the persons.

    They are hashes of numbers and phones that nobody else has, and the leads that have neither.
    """
    own = subjects.values.filter(subjects.values["is_own"])
    connection.register("own_values", own)
    rows = connection.sql(
        f"""
        select distinct
            kind,
            sha256(case when kind = 'phone' then {normalise_phone_sql("value")}
                else {normalise_id_sql("value")} end) as subject
        from own_values
        where kind in ('id_number', 'phone')
        order by all
        """
    ).fetchall()
    connection.unregister("own_values")
    by_hash = [(kind, subject) for kind, subject in rows if subject]
    hashed = pa.array(subjects.hashed_leads)
    leads = [key for key in subjects.lead_keys.to_pylist() if key not in set(hashed.to_pylist())]
    return by_hash + [("lead", key) for key in sorted(leads)]


def land_order(
    settings: Settings, name: str, day: date, reason: str, subjects: list[tuple[str, str]]
) -> Path:
    """Land the order file `name` for `day`, unless it is there; return its path.

    It holds from the beginning of `day` at the latest: a date may be run days after it ended.
    """
    path = settings.landing / "suppressions" / PLATFORM / f"{day}" / f"{name}.csv"
    if path.is_file():
        return path
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["subject_type", "subject", "reason", "effective_at"])
    begins = datetime.combine(day, time.min, settings.zone)
    at = min(datetime.now(UTC), begins.astimezone(UTC)).isoformat(timespec="seconds")
    writer.writerows([kind, subject, reason, at] for kind, subject in subjects)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.part")
    fresh.write_text(text.getvalue(), "utf-8")
    sync(fresh)
    fresh.rename(path)
    return path
