"""A small simulated market in its own home, and the real commands on it.

Beside the simulated channels one has people who come again with another phone, or without their
number. The simulator doesn't know them.
"""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.helpers.commands import Completed, run_command

Row = dict[str, str]

SUNDAY = date(2026, 3, 1)
MONDAY = date(2026, 3, 2)
"""The week's models change between the two dates."""
AGAIN = "again"
"""The channel of the people who come again: each is one person on both days."""
NO_ID = {"id_type": "", "id_number": ""}
TIMES = ("captured_at", "consent_at")
SIZE = ("--leads-per-day", "150", "--institutions", "8", "--channels", "3", "--seed", "7")


def banyan(home: Path, *arguments: str, **options: Any) -> Completed:
    """Run `python -m pipelines` as on the command line; `options` are the ones of `run_command`."""
    return run_command(*arguments, "--home", str(home), **options)


def simulate(home: Path, *, days: int = 2) -> None:
    """Write the small market's files below `home`, from Sunday on."""
    process = banyan(home, "simulate", "--start", f"{SUNDAY}", "--days", f"{days}", *SIZE)
    assert process.returncode == 0, process.stderr


def add_returning_people(home: Path) -> None:
    """Write further leads of people of one channel: all on Sunday, and once more on Monday."""
    leads = _read_people(home / f"landing/leads/search-01/{SUNDAY}/leads.csv")
    for day in (SUNDAY, MONDAY):
        path = home / f"landing/leads/{AGAIN}/{day}/leads.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(leads[0]))
            writer.writeheader()
            writer.writerows(_come_again(lead, day) for lead in _repeat(leads))
        path.chmod(0o600)
    for folder in (home / f"landing/leads/{AGAIN}").glob("**/"):
        folder.chmod(0o700)


def _read_people(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["id_number"] and row["phone"]]


def _repeat(leads: list[Row]) -> Iterator[Row]:
    """Yield further leads of the same people, in every way in which they can be distinguished."""
    for number, (lead, other) in enumerate(zip(leads, leads[1:] + leads[:1], strict=True)):
        name = lead["lead_id"]
        new_phone = f"+86139{number:08}"
        others_id = {key: other[key] for key in NO_ID}
        changes: list[Row] = [
            *([{"lead_id": f"{name}-no-id", **NO_ID}] if number % 4 in {0, 3} else []),
            *([{"lead_id": f"{name}-phone", "phone": new_phone}] if number % 4 == 1 else []),
            *([{"lead_id": f"{name}-new", "phone": new_phone, **NO_ID}] if number % 4 == 1 else []),
            *([{"lead_id": f"{name}-family", **others_id}] if number % 4 in {2, 3} else []),
        ]
        if number % 8 == 0:
            changes[0]["consent_withdrawn_at"] = f"{SUNDAY}T12:00:00+08:00"
        for change in changes:
            device = {"device_id": f"device-{change['lead_id']}", "consent_scope": "all"}
            yield lead | {"consent_withdrawn_at": ""} | device | change


def _come_again(lead: Row, day: date) -> Row:
    """Return a lead of Sunday on `day`, by another id and device where that is a later day."""
    days = (day - SUNDAY).days
    if not days:
        return lead
    later = {name: f"{lead[name]}-2" for name in ("lead_id", "device_id")}
    shifted = f"{SUNDAY + timedelta(days=days)}"
    moved = {name: lead[name].replace(f"{SUNDAY}", shifted) for name in TIMES}
    return lead | later | moved


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
