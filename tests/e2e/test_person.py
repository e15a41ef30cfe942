"""Persons are erased from the home of real days, and the days are still what they were."""

import json
import shutil
from datetime import date
from pathlib import Path

import duckdb
import pytest

from pipelines.core.publishing import check_file, read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.reconcile_day import reconcile_day
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, banyan, run
from tests.helpers.raw_search import find_words

TUESDAY = date(2026, 3, 3)
VALUES = ("id_number", "phone", "device_id", "full_name", "business_name", "lead_id")
HASHES = ("id_number_sha256", "phone_sha256", "person_key")
ORDERS = ("landing/suppressions/banyan/", "lake/suppressions/", "lake/closing_orders/")
"""Where the hashes of an erased person may be: they keep the person from being matched again."""


def load_leads(home: Path) -> list[dict[str, str]]:
    files = str(home / "lake" / "leads" / "*" / "leads.parquet")
    relation = duckdb.read_parquet(files, hive_partitioning=False, union_by_name=True)
    return (
        relation.project(", ".join(("channel_id", *VALUES, *HASHES))).to_arrow_table().to_pylist()
    )


def list_canaries(home: Path, numbers: set[str]) -> tuple[set[str], set[str]]:
    """Return the values and hashes that only the persons with these identity numbers have."""
    leads = load_leads(home)
    own = [row for row in leads if row["id_number"] in numbers]
    others = {row[name] for row in leads if row not in own for name in (*VALUES, *HASHES)}
    values = {row[name] for row in own for name in VALUES} - others - {None}
    hashes = {row[name] for row in own for name in HASHES} - others - {None}
    keys = {(row["channel_id"], row["lead_id"]) for row in own}
    files = str(home / "matches" / "*" / "matches.parquet")
    matches = duckdb.read_parquet(files, hive_partitioning=False)
    rows = matches.project("match_id, channel_id, lead_id").fetchall()
    return values | {match for match, *key in rows if tuple(key) in keys}, hashes


def erase(home: Path, numbers: set[str]) -> dict:
    """Erase persons by the command line: standard input names them."""
    words = ("person", "erase", "--id-number", "--by", "ann", "--reason", "ticket 12")
    process = banyan(home, *words, typed="\n".join(sorted(numbers)))
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def find_left(home: Path, values: set[str], hashes: set[str]) -> dict[str, list[str]]:
    """Return the files that name one of the persons, where no erasure leaves it."""
    found = find_words(home, values | hashes)
    left = {path: hits for path, hits in found.items() if "notice" not in path}
    return {
        path: hits
        for path, hits in left.items()
        if not (path.startswith(ORDERS) and set(hits) <= hashes)
    }


def pick_numbers(home: Path, count: int) -> set[str]:
    numbers = sorted({row["id_number"] for row in load_leads(home) if row["id_number"]})
    return set(numbers[:: max(1, len(numbers) // count)][:count])


def test_persons_are_in_no_file_of_a_full_day_and_the_day_adds_up(ran: CompletedRun, tmp_path):
    home = copy_home(ran.home, tmp_path)
    plant_canaries(home)
    numbers = pick_numbers(home, 8)
    values, hashes = list_canaries(home, numbers)
    places = {path.split("/")[0] for path in find_words(home, values | hashes)}
    assert places >= {"landing", "lake", "marts", "pairs", "matches", "offers", "outbox", "later"}
    figures = reconcile_day(Settings(home=home), MONDAY)
    proof = erase(home, numbers)
    assert proof["persons"] == len(numbers)
    assert find_left(home, values, hashes) == {}
    assert reconcile_day(Settings(home=home), MONDAY) == figures
    refused = banyan(home, "run", "--date", f"{MONDAY}")
    assert refused.returncode == 1
    assert "persons of it were erased since" in refused.stderr


def plant_canaries(home: Path) -> None:
    """Write every person into places that no step writes them to."""
    rows = load_leads(home)
    lines = [
        f"{row['phone']} {row['id_number']} {row['channel_id']}/{row['lead_id']}" for row in rows
    ]
    for name in ("logs/debug.log", "alerts/x.jsonl", "later/notes.html", "reports/extra.json"):
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    leads = home / "lake" / "leads" / f"date={MONDAY}" / "leads.parquet"
    shutil.copyfile(leads, home / "later" / "copy.parquet")


@pytest.mark.prove
def test_a_thousand_persons_are_erased_and_the_others_replay(tmp_path: Path):
    home = tmp_path / "home"
    words = ("--leads-per-day", "1200", "--institutions", "20", "--channels", "6", "--seed", "11")
    made = banyan(home, "simulate", "--start", f"{SUNDAY}", "--days", "3", *words)
    assert made.returncode == 0, made.stderr
    run(home, SUNDAY, MONDAY)
    numbers = pick_numbers(home, 1_000)
    assert len(numbers) == 1_000
    values, hashes = list_canaries(home, numbers)
    proof = erase(home, numbers)
    assert proof["persons"] == 1_000
    assert find_left(home, values, hashes) == {}
    for manifest in home.rglob("manifest.json"):
        for name, facts in read_manifest(manifest.parent)["files"].items():
            assert not check_file(manifest.parent / name, facts["sha256"])
    replayed = banyan(home, "replay", "--date", f"{MONDAY}")
    assert replayed.returncode == 0, replayed.stdout
    comparison = json.loads(replayed.stdout)
    assert comparison["differences"] == {}
    assert comparison["erasures"] == [proof["id"]]
    same = "rows of erased persons are gone; every other row is the same"
    local = [path for path in comparison["explained"] if path.startswith(("lake/leads/", "pairs/"))]
    assert {comparison["explained"][path] for path in local if "calibration" not in path} == {same}
    run(home, TUESDAY, TUESDAY)
    noticed = json.loads((home / f"settlement/date={TUESDAY}/manifest.json").read_text("utf-8"))
    assert noticed["notices"] >= sum(proof["institutions"].values())
    assert find_left(home, values, hashes) == {}
    offers = home / "offers" / f"date={MONDAY}" / "offers.parquet"
    offers.write_bytes(offers.read_bytes() + b" ")
    damaged = json.loads(banyan(home, "replay", "--date", f"{MONDAY}").stdout)
    assert list(damaged["differences"]) == [f"offers/date={MONDAY}/offers.parquet"]
