"""Landed files for tests: rows as text, as a source sends them."""

import csv
import gzip
import io
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from tests.helpers.feeds import GOOD

DAY = date(2026, 11, 20)
SOURCES = {"institutions": "platform", "supply_links": "platform", "suppressions": "platform"}


def row(feed: str, **changes: Any) -> dict[str, str]:
    """Return a valid row of `feed`, with `changes`, as the text of a CSV."""
    return {name: _text(value) for name, value in (GOOD[feed] | changes).items()}


def leads(count: int, *, first: int = 1, **changes: Any) -> list[dict[str, str]]:
    """Return `count` leads that differ only in their id."""
    return [row("leads", lead_id=f"L{i:05d}", **changes) for i in range(first, first + count)]


def csv_bytes(rows: Iterable[dict[str, str]], names: Iterable[str] | None = None) -> bytes:
    """Return `rows` as UTF-8 CSV with a header."""
    rows = list(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(names or rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def path_of(
    settings: Settings, feed: str, source: str = "search", day: date = DAY, name: str = "rows.csv"
) -> Path:
    """Return the path of a file in landing/."""
    return settings.landing / feed / source / f"{day:%Y-%m-%d}" / name


def land(path: Path, content: bytes | Iterable[dict[str, str]]) -> Path:
    """Write `content` (bytes, or rows for a CSV) to `path`; a `.gz` is compressed."""
    data = content if isinstance(content, bytes) else csv_bytes(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def close_before(settings: Settings, day: date = DAY) -> None:
    """Mark all dates before `day` as closed: a home that no file ever reached is refused."""
    closed = day - timedelta(days=1)
    write_json(settings.ledger / "closed.json", {"closed_through": f"{closed}"})


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "|".join(value)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
