"""A person whose rows were refused is found, exported and erased, though no lead has the person."""

import csv
import io
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE
from pipelines.persons import export
from pipelines.persons.collect import collect_person, find_persons
from pipelines.persons.erase import erase, erase_ordered
from pipelines.persons.identify import PersonUnclear
from pipelines.persons.restrict import restrict
from tests.helpers.delivered_home import FIRST
from tests.helpers.identifier_key import keyed
from tests.helpers.lake import at, write_feed
from tests.helpers.person_home import NEXT, REQUIRED, id_number, phone, write_home
from tests.helpers.raw_search import find_values

WHO = {"by": "ann", "reason": "ticket 12"}
NUMBER, OTHER_NUMBER = "110105194912310021", "440524188001010014"
SPOKEN, SHARED, UNREAD = "138-0099-0001", "+8613800990003", "+8613800990005"
E164 = "+8613800990001"
NAMES = ("lead_id", "full_name", "id_number", "phone", *REQUIRED)
ROWS = [
    {
        "lead_id": "refused-1",
        "full_name": "Nell, of\nthe hill",
        "phone": SPOKEN,
        "id_number": NUMBER,
    },
    {"lead_id": "refused-2", "full_name": "Otto", "phone": SHARED, "id_number": OTHER_NUMBER},
    {
        "lead_id": "refused-3",
        "full_name": "Pia",
        "phone": SHARED,
        "id_number": "11010519491231002X",
    },
    {"lead_id": "refused-4", "full_name": "Quin", "phone": f"138 {phone(2)[6:]}", "id_number": ""},
]
"""Two persons with a phone of their own, and two with the same phone. The last row has the phone of
person 2, who has a lead, in another form."""
LINES = (2, 4, 5, 6)
PATH = f"leads/partner/{FIRST}/leads.csv"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = write_home(tmp_path_factory.mktemp("home"))
    text = io.StringIO()
    writer = csv.DictWriter(text, NAMES, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | REQUIRED | {"segment": "nobody"} for row in ROWS)
    place = settings.landing / PATH
    place.parent.mkdir(parents=True)
    place.write_text(text.getvalue(), "utf-8")
    unread = place.with_name("unfinished.csv.part")
    unread.write_text(f"lead_id,phone\nz1,{UNREAD}\nz2,+8613800990006\n", "utf-8")
    quarantine(settings, list(csv.reader(io.StringIO(text.getvalue())))[1:])
    return settings


@pytest.fixture
def settings(template: Settings, tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    return Settings(home=home, threads=1)


def quarantine(settings: Settings, records: list[list[str]]) -> None:
    """Quarantine the rows as ingest does: with the line as it was received."""
    rows = [
        {
            "source": "partner",
            "file": PATH,
            "line": line,
            "column": "segment",
            "rule": "allowed",
            "severity": "critical",
            "rows": 1,
            "message": "segment must be one of: consumer, business",
            "received": ",".join(f'"{value}"' for value in record),
        }
        for line, record in zip(LINES, records, strict=True)
    ]
    folder = settings.day_folder(settings.quarantine / "leads", NEXT)
    with publishing(folder, {"counts": {}}) as fresh:
        write_parquet(pa.Table.from_pylist(rows, QUARANTINE), fresh / "quarantine.parquet")


def list_quarantined(settings: Settings) -> list[tuple[int, str | None]]:
    file = settings.day_folder(settings.quarantine / "leads", NEXT) / "quarantine.parquet"
    return duckdb.sql(f"select line, received from read_parquet('{file}') order by line").fetchall()


@pytest.mark.parametrize(
    ("kind", "name"), [("phone", E164), ("phone", SPOKEN), ("id_number", NUMBER)]
)
def test_the_person_of_a_quarantined_row_is_found(settings: Settings, kind, name):
    found = find_persons(settings, kind, [name])
    assert found["persons"] == [{"line": 1, "leads": []}]
    assert found["rejected"] == [{"path": PATH, "line": 2}]
    assert found["unknown"] == 0


def test_the_person_of_a_file_that_no_run_read_is_found(settings: Settings):
    found = find_persons(settings, "phone", [UNREAD, "+8613800990009"])
    assert [row["line"] for row in found["persons"]] == [1]
    assert found["rejected"] == [{"path": f"leads/partner/{FIRST}/unfinished.csv.part", "line": 2}]
    assert found["unknown"] == 1


def test_nothing_of_a_refused_person_is_left_and_other_rows_are(settings: Settings):
    before = dict(list_quarantined(settings))
    proof = erase(settings, "phone", [E164], **WHO)
    assert (proof["persons"], proof["leads"], proof["rejected_rows"]) == (1, 0, 1)
    assert proof["institutions"] == {}
    assert find_values(settings.home, {SPOKEN, E164[3:], NUMBER, "Nell", "refused-1"}) == {}
    after = dict(list_quarantined(settings))
    assert after == before | {2: None}
    lines = (settings.landing / PATH).read_text("utf-8").split("\n")
    assert lines[1:3] == ["", ""]
    assert [line.split(",")[0] for line in lines[3:6]] == ["refused-2", "refused-3", "refused-4"]
    order = (settings.home / proof["order"]).read_text("utf-8")
    assert order.count(",erasure,") == 1
    with pytest.raises(InputMissing, match="no quarantined row and no landed file"):
        erase(settings, "phone", [E164], **WHO)


def test_a_line_of_a_file_that_no_run_read_is_erased(settings: Settings):
    erase(settings, "phone", [UNREAD], **WHO)
    unread = settings.landing / PATH.replace("leads.csv", "unfinished.csv.part")
    assert unread.read_text("utf-8") == "lead_id,phone\n\nz2,+8613800990006\n"


def test_a_received_order_erases_refused_rows(settings: Settings):
    order = {"subject_type": "phone", "subject": keyed(E164), "reason": "erasure"}
    shared = {"subject_type": "phone", "subject": keyed(SHARED), "reason": "erasure"}
    times = {"effective_at": at("2026-03-02 09:00")}
    write_feed(settings, "suppressions", FIRST, [order | times, shared | times])
    assert erase_ordered(settings, **WHO)["persons"] == 1
    assert [received is None for _, received in list_quarantined(settings)] == [
        *(True, False, False, False),
    ]


def test_a_phone_that_refused_rows_have_with_two_numbers_names_neither(settings: Settings):
    with pytest.raises(PersonUnclear, match=r"^Line 2 .*\(--id-number\)"):
        erase(settings, "phone", [E164, SHARED], **WHO)
    assert erase(settings, "id_number", [OTHER_NUMBER], **WHO)["rejected_rows"] == 1
    assert [received is None for _, received in list_quarantined(settings)] == [
        *(False, True, False, False),
    ]


def test_a_refused_row_of_a_person_with_leads_is_erased_in_any_form(settings: Settings):
    proof = erase(settings, "id_number", [id_number(2)], **WHO)
    # its own row of the template, and the one of the partner
    assert (proof["leads"], proof["rejected_rows"]) == (1, 2)
    assert list_quarantined(settings)[3] == (6, None)
    assert find_values(settings.landing, {"Quin", ROWS[3]["phone"]}) == {}


def test_a_word_that_every_row_has_names_nobody(settings: Settings):
    assert find_persons(settings, "id_number", ["CONSUMER"])["unknown"] == 1


def test_an_export_has_the_rows_as_they_were_received(settings: Settings, tmp_path: Path):
    person = collect_person(settings, "id_number", [NUMBER])
    assert person["leads"] == []
    assert [(row["file"], row["line"], row["rule"]) for row in person["rejected"]] == [
        (PATH, 2, "allowed"),
    ]
    _, page = export.write_export(settings, person, tmp_path / "export")
    assert f"{PATH}:2" in page.read_text("utf-8")
    (row,) = collect_person(settings, "phone", [UNREAD])["rejected"]
    assert row["received"] == f"z1,{UNREAD}"


def test_a_refused_person_can_be_restricted(settings: Settings):
    entry = restrict(settings, "phone", [E164], **WHO)
    (landed,) = (settings.landing / "suppressions" / "banyan").glob(f"*/{entry['id']}.csv")
    assert landed.read_text("utf-8").count(",do_not_contact,") == 1
