"""Persons are erased from the home of real days, and the days are still what they were."""

import csv
import json
import random
import shutil
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines.core.publishing import check_file, read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.reconcile_day import reconcile_day
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, add_returning_people, banyan, run
from tests.helpers.raw_search import find_words

TUESDAY, WEDNESDAY = date(2026, 3, 3), date(2026, 3, 4)
VALUES = ("id_number", "phone", "device_id", "full_name", "business_name", "lead_id")
HASHES = ("id_number_sha256", "phone_sha256", "person_key")
ORDERS = ("landing/suppressions/banyan/", "lake/suppressions/", "lake/closing_orders/")
"""Where the hashes of an erased person may be: they keep the person from being matched again."""
LOADED_ORDERS = (*ORDERS, "warehouse.duckdb")
"""The same after a later run, which loads the orders."""


def load_leads(home: Path) -> list[dict[str, str]]:
    files = str(home / "lake" / "leads" / "*" / "leads.parquet")
    relation = duckdb.read_parquet(files, hive_partitioning=False, union_by_name=True)
    names = ("channel_id", "cast(landed_on as varchar) as lead_on", *VALUES, *HASHES)
    return relation.project(", ".join(names)).to_arrow_table().to_pylist()


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


def find_left(
    home: Path,
    values: set[str],
    hashes: set[str],
    held: set[tuple[str, str]],
    orders: tuple[str, ...] = ORDERS,
) -> dict[str, list[str]]:
    """Return the files that name one of the persons, where no erasure leaves it.

    A notice names the match that an institution has; an order has hashes.
    """
    matches = {match for _, match in held}
    return {
        path: hits
        for path, hits in find_words(home, values | hashes).items()
        if not (path.startswith(orders) and set(hits) <= hashes)
        and not ("notice" in path and set(hits) <= matches)
    }


def pick_numbers(home: Path, count: int) -> set[str]:
    numbers = sorted({row["id_number"] for row in load_leads(home) if row["id_number"]})
    return set(numbers[:: max(1, len(numbers) // count)][:count])


def test_persons_are_in_no_file_of_a_full_day_and_the_day_adds_up(ran: CompletedRun, tmp_path):
    home = copy_home(ran.home, tmp_path)
    plant_canaries(home)
    numbers = pick_numbers(home, 8)
    values, hashes = list_canaries(home, numbers)
    for place in ("landing", "lake", "marts", "pairs", "matches", "offers", "outbox", "later"):
        assert find_words(home / place, values | hashes), place
    figures = reconcile_day(Settings(home=home), MONDAY)
    held = list_held(home, list_theirs(home, numbers))
    proof = erase(home, numbers)
    assert proof["persons"] == len(numbers)
    assert find_left(home, values, hashes, held) == {}
    assert sum(proof["institutions"].values()) == len(held)
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
    size = ("--leads-per-day", "800", "--institutions", "20", "--channels", "6", "--seed", "11")
    words = (*size, "--corruption", "0", "--sealed", "0.2")
    made = banyan(home, "simulate", "--start", f"{SUNDAY}", "--days", "4", *words)
    assert made.returncode == 0, made.stderr
    add_returning_people(home)
    refused = plant_refused(home)
    run(home, SUNDAY, TUESDAY)
    drawn = draw_persons(home, 1_000, refused)
    values, hashes = list_canaries(home, drawn.numbers)
    values = (values - list_names(home, WEDNESDAY, drawn.numbers)) | drawn.refused_words
    held = list_held(home, list_theirs(home, drawn.numbers))
    own = list_own(home, drawn.numbers)
    others = hash_others(home, own)
    assert set(others) >= {"lake", "marts", "pairs", "matches", "offers", "unmatched", "delivered"}
    proof = erase(home, drawn.numbers)
    assert (proof["persons"], proof["unknown"]) == (1_000, 0)
    assert proof["rejected_rows"] >= len(refused)
    assert find_left(home, values, hashes, held) == {}
    assert hash_others(home, own) == others
    folders = [path.parent for path in home.rglob("manifest.json") if "target" not in path.parts]
    assert len(folders) > 100
    for folder in folders:
        for name, facts in read_manifest(folder)["files"].items():
            assert not check_file(folder / name, facts["sha256"])
    verified = banyan(home, "verify")
    assert verified.returncode == 0, verified.stdout
    for day in (SUNDAY, MONDAY, TUESDAY):
        check_replay(home, day, proof["id"])
    run(home, WEDNESDAY, WEDNESDAY)
    assert list_noticed(home, WEDNESDAY) == held
    assert find_left(home, values, hashes, held, LOADED_ORDERS) == {}
    offers = home / "offers" / f"date={MONDAY}" / "offers.parquet"
    offers.write_bytes(offers.read_bytes() + b" ")
    damaged = json.loads(banyan(home, "replay", "--date", f"{MONDAY}").stdout)
    assert list(damaged["differences"]) == [f"offers/date={MONDAY}/offers.parquet"]


class Drawn(NamedTuple):
    """Persons that are drawn at random, by identity number."""

    numbers: set[str]
    refused_words: set[str]
    """The numbers, phones and lead ids of the ones who have no lead."""


def plant_refused(home: Path) -> list[dict[str, str]]:
    """Land rows that are quarantined, in a file that is loaded and in one that is refused whole."""
    path = home / f"landing/leads/search-01/{SUNDAY}/leads.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    planted = [
        row
        | {"segment": "nobody", "lead_id": f"refused-{number:03}", "full_name": f"Nemo {number}"}
        | {"phone": f"+86135770{number:05}", "id_number": f"33010219700101{number:03}X"}
        for number, row in enumerate(rows[:14])
    ]
    whole = home / f"landing/leads/refused/{SUNDAY}/leads.csv"
    whole.parent.mkdir(parents=True)
    for place, written in ((path, [*rows, *planted[:2]]), (whole, planted[2:])):
        with place.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(written)
    return planted


def list_names(home: Path, day: date, numbers: set[str]) -> set[str]:
    """Return the names in the landed leads of a date that was not run, but of these persons."""
    names: set[str] = set()
    for path in sorted((home / "landing" / "leads").glob(f"*/{day}/*")):
        if path.suffix == ".parquet":
            rows = duckdb.read_parquet(str(path))
        elif ".jsonl" in path.suffixes:
            rows = duckdb.read_json(str(path))
        else:
            rows = duckdb.read_csv(str(path), all_varchar=True)
        for row in rows.to_arrow_table().to_pylist():
            if row.get("id_number") not in numbers:
                names |= {row.get("full_name") or "", row.get("business_name") or ""}
    return names


def draw_persons(home: Path, count: int, refused: list[dict[str, str]]) -> Drawn:
    """Draw persons: every refused one, many of several dates, the others by chance."""
    chance = random.Random(11)
    leads = load_leads(home)
    dates: dict[str, set[str]] = {}
    for row in leads:
        if row["id_number"]:
            dates.setdefault(row["id_number"], set()).add(row["lead_on"])
    several = sorted(number for number, days in dates.items() if len(days) > 1)
    assert len(several) >= 20
    numbers = {row["id_number"] for row in refused}
    assert not numbers & dates.keys()
    chosen = numbers | set(chance.sample(several, len(several) // 2))
    rest = sorted(dates.keys() - chosen)
    chosen |= set(chance.sample(rest, count - len(chosen)))
    words = {row[name] for row in refused for name in ("id_number", "phone", "lead_id")}
    return Drawn(chosen, words)


def list_held(home: Path, theirs: list[str]) -> set[tuple[str, str]]:
    """Return institution and match id of each match of the leads `theirs` that was delivered.

    What the lead files have that can be opened agrees with what is recorded.
    """
    files = str(home / "delivered" / "date=*" / "*.parquet")
    rows = duckdb.read_parquet(files, union_by_name=True, hive_partitioning=False).project(
        "institution_id, match_id, channel_id, lead_id"
    )
    held = {(row[0], row[1]) for row in rows.fetchall() if f"{row[2]}/{row[3]}" in theirs}
    sent = set()
    for path in sorted((home / "outbox").glob("date=*/*/leads*.csv")):
        for row in csv.DictReader(path.read_text("utf-8-sig").splitlines()):
            sent.add((path.parent.name, row["match_id"]))
    assert sent & held
    assert {match for _, match in held} <= {row[1] for row in rows.fetchall()}
    return held


def list_noticed(home: Path, day: date) -> set[tuple[str, str]]:
    """Return institution and match id of each notice of erasure in the outbox of a date."""
    return {
        (path.parent.name, row["match_id"])
        for path in (home / "outbox" / f"date={day}").glob("*/withdrawal_notice*.csv")
        for row in csv.DictReader(path.read_text("utf-8-sig").splitlines())
        if row["kind"] == "erasure"
    }


def list_theirs(home: Path, numbers: set[str]) -> list[str]:
    """Return CHANNEL/LEAD of the leads that are the persons'.

    A lead without a number belongs to the only number that came with its phone, if there is one.
    """
    leads = load_leads(home)
    owners: dict[str, set[str]] = {}
    for row in leads:
        if row["id_number"] and row["phone"]:
            owners.setdefault(row["phone"], set()).add(row["id_number"])

    def is_of(phone: str) -> bool:
        return len(owners.get(phone, ())) == 1 and owners[phone] <= numbers

    return [
        f"{row['channel_id']}/{row['lead_id']}"
        for row in leads
        if row["id_number"] in numbers or (not row["id_number"] and is_of(row["phone"]))
    ]


def list_own(home: Path, numbers: set[str]) -> list[str]:
    """Return CHANNEL/LEAD of the leads that are, or may be, one of the persons'.

    A lead without a number may be the person's whose phone it has.
    """
    leads = load_leads(home)
    phones = {row["phone"] for row in leads if row["id_number"] in numbers} - {None}
    return [
        f"{row['channel_id']}/{row['lead_id']}"
        for row in leads
        if row["id_number"] in numbers or (not row["id_number"] and row["phone"] in phones)
    ]


def hash_others(home: Path, own: list[str]) -> dict[str, tuple[int, int]]:
    """Return top folder -> number and hash of the rows of other leads, in any order."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(home.rglob("*.parquet")):
        top = path.relative_to(home).parts[0]
        names = set(pq.read_schema(path).names)
        if top in {"landing", "truth", "persons"} or not names >= {"channel_id", "lead_id"}:
            continue
        keys = [(f"{which}channel_id", f"{which}lead_id") for which in ("", "canonical_", "first_")]
        others = " and ".join(
            f"{lead} not like 'erased-%' and not list_contains($own, {channel} || '/' || {lead})"
            for channel, lead in keys
            if lead in names
        )
        rows = duckdb.sql(
            f"select count(*), coalesce(sum(hash(rows)::hugeint), 0)::varchar "
            f"from (from read_parquet($path, hive_partitioning = false)) as rows "
            f"where coalesce({others}, true)",
            params={"own": own, "path": str(path)},
        )
        count, total = rows.fetchall()[0]
        before = found.get(top, (0, 0))
        found[top] = (before[0] + count, before[1] + int(total))
    return found


def check_replay(home: Path, day: date, erasure: str) -> None:
    """Compute a day again: the rows of others that are computed one by one are the same."""
    replayed = banyan(home, "replay", "--date", f"{day}")
    assert replayed.returncode == 0, replayed.stdout
    comparison = json.loads(replayed.stdout)
    assert comparison["differences"] == {}
    assert comparison["erasures"] == [erasure]
    same = "rows of erased persons are gone; every other row is the same"
    local = [path for path in comparison["explained"] if path.startswith(("lake/leads/", "pairs/"))]
    assert {comparison["explained"][path] for path in local if "calibration" not in path} == {same}
