"""A small simulated market in its own home, and the real commands on it."""

import csv
import gzip
import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.helpers.commands import Completed, run_command

SUNDAY = date(2026, 3, 1)
MONDAY = date(2026, 3, 2)
"""The week's models change between the two dates."""
SIZE = ("--leads-per-day", "150", "--institutions", "8", "--channels", "3", "--seed", "7")


def banyan(home: Path, *arguments: str, **options: Any) -> Completed:
    """Run `python -m pipelines` as on the command line; `options` are the ones of `run_command`."""
    return run_command(*arguments, "--home", str(home), **options)


def simulate(home: Path, *, days: int = 2) -> None:
    """Write the small market's files below `home`, from Sunday on."""
    process = banyan(home, "simulate", "--start", f"{SUNDAY}", "--days", f"{days}", *SIZE)
    assert process.returncode == 0, process.stderr


def run(home: Path, first: date, last: date, **options: Any) -> dict[str, dict[str, Any]]:
    """Run the daily job for a range of dates and return its figures by date."""
    dates = ("--date", f"{first}", "--to", f"{last}")
    process = banyan(home, "run", *dates, "--json", **options)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def landed_rows(home: Path) -> Counter[tuple[str, str, str]]:
    """Count rows by (feed, source, date) from the landed bytes, not by Banyan's readers."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for path in sorted((home / "landing").glob("*/*/*/*")):
        feed, source, day = path.parts[-4:-1]
        if path.suffix != ".part" and path.stat().st_size:
            rows[feed, source, day] += _rows(path)
    return rows


def _rows(path: Path) -> int:
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).metadata.num_rows
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        if ".jsonl" in path.suffixes:
            return sum(1 for line in file if line.strip())
        return sum(1 for _ in csv.reader(file)) - 1
