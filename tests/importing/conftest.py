"""Fixtures: a foreign file with its mapping, imported into an empty home."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.settings import Settings
from pipelines.importing import import_file

LEADS = """
description: A test.
origin: Made up.
file: {file}
{extra}
routes:
  - feed: leads
    source: shop
    date: {date}
    columns:
      lead_id: {{from: id}}
      captured_at: '2026-03-01T10:00:00+08:00'
      segment: consumer
      amount: {amount}
      currency: CNY
      consent_scope: all
      consent_at: '2026-03-01T09:59:00+08:00'
      consent_version: v1
{columns}
"""

Rows = list[dict[str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def leads_of(tmp_path: Path, settings: Settings) -> Callable[..., tuple[Rows, dict[str, Any]]]:
    """Return a function that imports a file; it returns the landed leads and the result."""

    def imported(
        content: bytes | str,
        *,
        name: str = "foreign.csv",
        file: str = "{format: csv}",
        extra: str = "",
        date: str = "'2026-03-01'",
        amount: str = "'1000'",
        **columns: str,
    ) -> tuple[Rows, dict[str, Any]]:
        lines = "\n".join(f"      {column}: {value}" for column, value in columns.items())
        mapping = tmp_path / "test.yml"
        text = LEADS.format(file=file, extra=extra, date=date, amount=amount, columns=lines)
        mapping.write_text(text, "utf-8")
        foreign = tmp_path / name
        foreign.write_bytes(content if isinstance(content, bytes) else content.encode())
        result = import_file(settings, str(mapping), foreign)
        return landed(settings, "leads"), result

    return imported


def landed(settings: Settings, feed: str) -> Rows:
    """Return every landed row of a feed, with the `source` and `date` of its folder."""
    rows = []
    for path in sorted((settings.landing / feed).rglob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            folder = {"source": path.parts[-3], "landed": path.parts[-2]}
            rows += [row | folder for row in csv.DictReader(file)]
    return rows
