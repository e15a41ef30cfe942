"""Rows of landed files as text, read by own code, each with the moment at which its file arrived.

A file that can't be read is listed in `Landing.unread` and gives the rows that precede the damage.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import duckdb

Row = dict[str, str]

PROGRAM_NULLS = {"NULL", "null", "Null", "\\N", "None", "nan", "NaN", "NAN", "NaT", "<NA>"}


@dataclass(frozen=True)
class LandedFile:
    """One file of landing/ with its rows."""

    path: str
    source: str
    landed_on: date
    arrived: float
    """Seconds since the epoch at which the file was written."""
    rows: tuple[Row, ...]


@dataclass
class Landing:
    """The files of a folder landing/."""

    folder: Path
    unread: set[str] = field(default_factory=set)
    """Paths of the files of which not every row could be read."""

    @cached_property
    def leads(self) -> list[LandedFile]:
        return self.read_feed("leads")

    @cached_property
    def orders(self) -> list[LandedFile]:
        return self.read_feed("suppressions")

    @cached_property
    def products(self) -> list[LandedFile]:
        return self.read_feed("products")

    @cached_property
    def rules(self) -> list[LandedFile]:
        return self.read_feed("product_rules")

    @cached_property
    def fees(self) -> list[LandedFile]:
        return self.read_feed("product_fees")

    @cached_property
    def institutions(self) -> list[LandedFile]:
        return self.read_feed("institutions")

    def read_feed(self, feed: str) -> list[LandedFile]:
        """Return the files of a feed, by path."""
        return [
            self.read_one(str(path.relative_to(self.folder)))
            for path in sorted((self.folder / feed).glob("*/*/*"))
            if re.fullmatch(r"\d{4}-\d\d-\d\d", path.parts[-2])
            and re.search(r"\.(csv|jsonl)(\.gz)?$|\.parquet$", path.name)
            and not path.name.startswith(".")
        ]

    def read_one(self, name: str) -> LandedFile:
        """Return one file by its path below the folder."""
        path = self.folder / name
        landed_on = date.fromisoformat(path.parts[-2])
        rows = tuple(self._read(path))
        return LandedFile(name, path.parts[-3], landed_on, path.stat().st_mtime, rows)

    def _read(self, path: Path) -> Iterator[Row]:
        try:
            for row in _read_rows(path):
                yield {name.strip(): _clean(value) for name, value in row.items() if name}
        except (ValueError, EOFError, OSError, csv.Error, duckdb.Error, TypeError):
            self.unread.add(str(path.relative_to(self.folder)))


def _read_rows(path: Path) -> Iterator[dict[str, object]]:
    if path.suffix == ".parquet":
        relation = duckdb.connect().read_parquet(str(path), hive_partitioning=False)
        for values in relation.fetchall():
            yield dict(zip(relation.columns, values, strict=True))
        return
    data = path.read_bytes()
    text = _decompress(data) if path.suffix == ".gz" else data.decode("utf-8-sig")
    if ".jsonl" in path.suffixes:
        for line in text.splitlines():
            if line.strip():
                yield dict(json.loads(line))
        return
    yield from csv.DictReader(io.StringIO(text, newline=""))


def _decompress(data: bytes) -> str:
    return gzip.decompress(data).decode("utf-8-sig")


def _clean(value: object) -> str:
    """Return a value as trimmed text; empty where it is missing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "|".join(map(str, value))
    text = str(value).strip()
    return "" if text in PROGRAM_NULLS else text
