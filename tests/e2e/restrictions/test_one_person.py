"""People who come again with another phone, or without their number: each is one person all day."""

from pathlib import Path

import duckdb
import pytest

from expectations import policy
from tests.e2e.conftest import CompletedRun
from tests.e2e.market import AGAIN, SUNDAY


@pytest.fixture
def repeated(ran: CompletedRun) -> Path:
    """A home where people of one channel come again on Sunday, and again on Monday."""
    return ran.home


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
        f"where again.channel_id = '{AGAIN}' and again.date = '{SUNDAY}'",
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
        f"and channel_id = '{AGAIN}'",
    )
    matched = query(
        repeated,
        "select count(*) from matches_rows join lake_rows using (channel_id, lead_id) "
        f"where matches_rows.date = '{SUNDAY}' and phone in (select phone from lake_rows "
        f"where consent_withdrawn_at is not null and channel_id = '{AGAIN}')",
    )
    assert len(withdrawn) >= 3
    assert matched == [(0,)]
