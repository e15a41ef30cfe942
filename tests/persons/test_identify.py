"""Which leads an identifier names, and when it is refused."""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.persons.identify import PersonUnclear, find_leads, read_identifiers
from tests.helpers.identifier_key import keyed
from tests.helpers.lake import write_feed

DAY = date(2026, 3, 1)
ANN, BOB = "11010519491231002X", "440524188001010014"
OWN, SHARED, LONELY = "+8613800138000", "+8613800138001", "+8613800138002"


def lead(
    name: str, id_number: str | None = None, phone: str | None = None, owner: str | None = None
) -> dict[str, object]:
    row: dict[str, object] = {"channel_id": "search", "lead_id": name}
    for column, value in (("id_number", id_number), ("phone", phone), ("owner_id_number", owner)):
        if value:
            row |= {column: value, f"{column}_sha256": keyed(value)}
    return row


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    write_feed(settings, "leads", DAY, [lead("a1", ANN, OWN), lead("b1", BOB, SHARED)])
    others = [
        lead("a2", ANN),
        lead("a3", None, OWN),
        lead("a4", ANN, SHARED),
        lead("s1", None, SHARED),
        lead("l1", None, LONELY),
        lead("n1"),
    ]
    write_feed(settings, "leads", date(2026, 3, 9), others)
    return settings


def find(settings: Settings, kind: str, *lines: str) -> list[tuple[int, str]]:
    with connect(settings) as connection:
        found = find_leads(connection, settings, kind, read_identifiers(kind, lines))
    return [(row["person"], row["lead_id"]) for row in found.leads.to_pylist()]


@pytest.mark.parametrize(
    ("kind", "line", "leads"),
    [
        ("id_number", ANN, ["a1", "a2", "a3", "a4"]),
        ("id_number", "110105 19491231-002x", ["a1", "a2", "a3", "a4"]),
        ("id_number", BOB, ["b1"]),
        ("phone", OWN, ["a1", "a2", "a3", "a4"]),
        ("phone", "138 0013 8000", ["a1", "a2", "a3", "a4"]),
        ("phone", LONELY, ["l1"]),
        ("lead", "SEARCH/a3", ["a1", "a2", "a3", "a4"]),
        ("lead", "search/n1", ["n1"]),
        ("lead", "search/unknown", []),
    ],
)
def test_a_person_has_the_leads_of_the_number_and_of_its_own_phones(settings, kind, line, leads):
    assert sorted(name for _, name in find(settings, kind, line)) == leads


def test_a_phone_of_two_persons_names_neither(settings: Settings):
    with pytest.raises(PersonUnclear, match=r"^Line 2 .*\(--id-number\)") as error:
        find(settings, "phone", LONELY, SHARED)
    assert SHARED[3:] not in str(error.value)


def test_a_number_with_more_phones_than_a_person_has_names_nobody(settings: Settings):
    many = [lead(f"m{n}", "110101199003074477", f"+8613900139{n:03d}") for n in range(4)]
    write_feed(settings, "leads", date(2026, 3, 10), many)
    with pytest.raises(PersonUnclear):
        find(settings, "id_number", "110101199003074477")
    assert find(settings, "phone", "+8613900139002") == [(1, "m2")]


@pytest.mark.parametrize(
    ("kind", "line", "leads"),
    [
        ("id_number", ANN, ["a1", "a2", "a3", "a4", "f1", "f2"]),
        ("phone", OWN, ["a1", "a2", "a3", "a4", "f1", "f2"]),
        ("id_number", "F1-NUMBER", ["f1"]),
        ("id_number", "110101196001010021", ["o1"]),
    ],
)
def test_an_owner_has_the_leads_of_its_firms_and_a_firm_its_own(settings, kind, line, leads):
    firms = [lead("f1", "F1NUMBER", "+8613900139001", ANN), lead("f2", None, None, ANN)]
    firms += [lead("o1", "F3NUMBER", None, "110101196001010021")]
    write_feed(settings, "leads", date(2026, 3, 10), firms)
    assert sorted(name for _, name in find(settings, kind, line)) == leads


def test_a_number_that_owns_more_firms_than_an_owner_has_names_nobody(settings: Settings):
    firms = [lead(f"f{n}", f"F{n}NUMBER", None, ANN) for n in range(6)]
    write_feed(settings, "leads", date(2026, 3, 10), firms)
    with pytest.raises(PersonUnclear):
        find(settings, "id_number", ANN)
    assert [name for _, name in find(settings, "phone", OWN)] == ["a1", "a2", "a3", "a4"]


def test_a_home_from_before_owners_were_agreed_is_searched(settings: Settings):
    for path in (settings.lake / "leads").glob("date=*/leads.parquet"):
        rows = pq.read_table(path, partitioning=None)
        owner = [name for name in rows.column_names if "owner" in name]
        pq.write_table(rows.drop_columns(owner), path)
    assert [name for _, name in find(settings, "id_number", BOB)] == ["b1"]


def test_each_line_is_a_person_and_each_lead_is_found_once(settings: Settings):
    found = find(settings, "id_number", ANN, "", BOB, ANN)
    assert [name for _, name in found] == ["a1", "a2", "a3", "a4", "b1"]
    assert {person for person, _ in found} == {1, 3}


@pytest.mark.parametrize(
    ("kind", "lines", "message"),
    [
        ("phone", ["+8613800138000", "my phone"], "Line 2 of standard input is not a phone"),
        ("id_number", ["1"], "Line 1 of standard input is not an identity number"),
        ("lead", ["search"], "Line 1 of standard input is not CHANNEL/LEAD"),
        ("lead", ["", " "], "Nobody was named"),
    ],
)
def test_a_line_that_is_no_identifier_is_refused_and_not_quoted(kind, lines, message):
    with pytest.raises(UsageError, match=message) as error:
        read_identifiers(kind, lines)
    assert "my phone" not in str(error.value)
