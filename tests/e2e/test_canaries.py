"""Values that name a person stay inside: no log, task exchange, page, manifest or metric has one.

The canaries are every identity number, phone, name and device of the leads of the run, as they
landed and as the lake has them. Where they may be is listed; every other file of the home, the
metadata database of Airflow with its XComs included, is searched byte by byte.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipelines.deliveries import lead_file
from tests.e2e.conftest import CompletedRun
from tests.independent.landed import Landing

COLUMNS = ("full_name", "id_number", "phone", "device_id", "business_name")
INSIDE = {"landing", "lake", "quarantine", "truth", "keys", "warehouse.duckdb", "world"}
"""What is inside the platform: the feeds, what was quarantined of them, and the warehouse."""
LEAST_BYTES = 6
"""A shorter value may be a part of any word."""
TOKEN = re.compile(rb"\+?[0-9A-Z]{9,20}|d[0-9]{9,15}")
"""An identity number, a phone or a device, as a whole word."""


@pytest.fixture(scope="module")
def canaries(ran: CompletedRun) -> dict[str, set[str]]:
    """Column -> its values, without the ones that are too short to be searched for."""
    found: dict[str, set[str]] = {name: set() for name in COLUMNS}
    for file in Landing(ran.home / "landing").leads:
        for row in file.rows:
            for name in COLUMNS:
                found[name].add(row.get(name, ""))
    paths = [str(path) for path in ran.home.glob("lake/leads/*/leads.parquet")]
    lake = duckdb.read_parquet(paths, hive_partitioning=False, union_by_name=True)
    for name in COLUMNS:
        found[name] |= {value for (value,) in lake.project(name).fetchall() if value}
    return {
        name: {value for value in values if len(value.encode()) >= LEAST_BYTES}
        for name, values in found.items()
    }


def files_outside(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        top = path.relative_to(home).parts[0]
        if path.is_file() and top not in INSIDE and not path.name.startswith("leads."):
            yield path


def read_bytes(path: Path) -> bytes:
    """Return what a file has; of a Parquet file its values, since its bytes are compressed."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    rows = duckdb.read_parquet(str(path), hive_partitioning=False).fetchall()
    return "\n".join(map(str, rows)).encode()


def test_there_are_canaries_of_every_kind(canaries: dict[str, set[str]]):
    assert {name for name, values in canaries.items() if len(values) < 10} <= {"business_name"}


def test_no_file_outside_has_a_canary(ran: CompletedRun, canaries: dict[str, set[str]]):
    tokens = {value.encode() for name in COLUMNS[1:4] for value in canaries[name]}
    tokens |= {value.lstrip(b"+") for value in tokens}
    names = sorted(canaries["full_name"] | canaries["business_name"])
    named = re.compile("|".join(map(re.escape, names)).encode())
    searched, found = 0, []
    for path in files_outside(ran.home):
        content = read_bytes(path)
        hits = len(tokens & set(TOKEN.findall(content))) + len(set(named.findall(content)))
        searched += len(content)
        if hits:
            found.append(f"{path.relative_to(ran.home)}: {hits}")
    assert searched > 1_000_000
    assert not found
    assert list(ran.home.rglob("*.db")) or list(ran.home.rglob("*.sqlite*"))


def test_a_lead_file_has_canaries_only_in_columns_that_were_agreed(
    ran: CompletedRun, canaries: dict[str, set[str]]
):
    files = 0
    for manifest in sorted(ran.home.glob("outbox/*/*/manifest.json")):
        agreed = set(json.loads(manifest.read_text("utf-8"))["columns"])
        for path in manifest.parent.glob("leads*"):
            table = lead_file.read(path)
            files += 1
            for column in table.column_names:
                values = {str(value) for value in table[column].to_pylist()}
                for name in COLUMNS:
                    assert name in agreed or not values & canaries[name]
    assert files


def test_the_last_gate_stopped_no_file_of_an_undisturbed_run(ran: CompletedRun):
    reasons = [
        json.loads(path.read_text("utf-8")).get("held_reasons", {})
        for path in ran.home.glob("outbox/*/*/manifest.json")
    ]
    assert reasons
    assert not [each for each in reasons if "last_gate" in each]
