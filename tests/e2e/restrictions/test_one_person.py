"""People who come again with another phone, or without their number: each is one person all day."""

import csv
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from expectations import policy
from tests.e2e.conftest import copy_home
from tests.e2e.market import MONDAY, SUNDAY, run

Row = dict[str, str]

CHANNEL = "again"
WITHDRAWN = "2026-03-01T12:00:00+08:00"
NO_ID = {"id_type": "", "id_number": ""}


def read_channel(home: Path) -> list[Row]:
    path = home / f"landing/leads/search-01/{SUNDAY}/leads.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["id_number"] and row["phone"]]


def repeat(leads: list[Row]) -> Iterator[Row]:
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
            changes[0]["consent_withdrawn_at"] = WITHDRAWN
        for change in changes:
            device = {"device_id": f"device-{change['lead_id']}", "consent_scope": "all"}
            yield lead | {"consent_withdrawn_at": ""} | device | change


@pytest.fixture(scope="module")
def repeated(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where people of one channel come again on Sunday, some on Monday; both were run."""
    home = copy_home(landed, tmp_path_factory.mktemp("again"))
    leads = read_channel(home)
    again = list(repeat(leads))
    monday = [
        row | {"lead_id": f"{row['lead_id']}-2", "device_id": f"{row['device_id']}-2"}
        for row in again
    ]
    for day, rows in ((SUNDAY, again), (MONDAY, monday)):
        path = home / f"landing/leads/{CHANNEL}/{day}/leads.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(leads[0]))
            writer.writeheader()
            for row in rows:
                later = {name: shift(row[name], (day - SUNDAY).days) for name in TIMES}
                writer.writerow(row | later)
    run(home, SUNDAY, MONDAY)
    return home


TIMES = ("captured_at", "consent_at")


def shift(moment: str, days: int) -> str:
    return moment.replace(f"{SUNDAY}", f"{SUNDAY + timedelta(days=days)}") if days else moment


def query(home: Path, sql: str) -> list[tuple]:
    with duckdb.connect() as connection:
        for name in ("matches", "marts"):
            table = {"matches": "matches", "marts": "leads"}[name]
            files = str(home / name / "date=*" / f"{table}.parquet")
            connection.read_parquet(files, hive_partitioning=True).create_view(f"{name}_rows")
        lake = str(home / "lake/leads/date=*/leads.parquet")
        connection.read_parquet(lake, hive_partitioning=True).create_view("lake_rows")
        return connection.sql(sql).fetchall()


SENT = """(
    select matches_rows.date, matches_rows.institution_id, matches_rows.product_id, {name} as name
    from matches_rows join lake_rows using (channel_id, lead_id)
    where {name} is not null
)"""


@pytest.mark.parametrize("name", ["phone", "id_number"])
def test_an_institution_gets_no_phone_and_no_number_twice_on_a_day(repeated: Path, name: str):
    (count,) = query(
        repeated,
        f"select count(*), count(distinct (date, institution_id, name)) "
        f"from {SENT.format(name=name)}",
    )
    assert count[0] == count[1] > 100


@pytest.mark.parametrize("name", ["phone", "id_number"])
def test_no_phone_and_no_number_has_more_offers_than_one_lead(repeated: Path, name: str):
    (most,) = query(
        repeated,
        f"select max(offers) from (select count(*) as offers from {SENT.format(name=name)} "
        "group by date, name)",
    )[0]
    assert most == policy.value().max_offers_per_lead


def test_no_phone_is_shown_a_product_again_on_the_next_day(repeated: Path):
    rows = query(
        repeated,
        f"select name, product_id from {SENT.format(name='phone')} "
        "group by all having count(distinct date) > 1",
    )
    assert rows == []


def test_people_are_connected_and_families_are_not(repeated: Path):
    rows = query(
        repeated,
        "select again.lead_id, again.person_key = first.person_key "
        f"from marts_rows again join marts_rows first on first.date = '{SUNDAY}' "
        "and again.lead_id like first.lead_id || '-%' and first.channel_id = 'search-01' "
        f"where again.channel_id = '{CHANNEL}' and again.date = '{SUNDAY}'",
    )
    same = {suffix: {is_same for name, is_same in rows if name.endswith(suffix)}
            for suffix in ("-phone", "-new", "-family")}  # fmt: skip
    assert same["-phone"] == {True}
    assert same["-new"] == {True}
    assert same["-family"] == {False}


def test_a_withdrawal_holds_for_every_lead_of_the_person(repeated: Path):
    withdrawn = query(
        repeated,
        "select distinct phone from lake_rows where consent_withdrawn_at is not null "
        f"and channel_id = '{CHANNEL}'",
    )
    matched = query(
        repeated,
        "select count(*) from matches_rows join lake_rows using (channel_id, lead_id) "
        f"where matches_rows.date = '{SUNDAY}' and phone in (select phone from lake_rows "
        f"where consent_withdrawn_at is not null and channel_id = '{CHANNEL}')",
    )
    assert len(withdrawn) >= 3
    assert matched == [(0,)]
