"""A withdrawal after delivery reaches each institution that has the person, and no other."""

import csv
import json
import random
import shutil
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from expectations import policy
from pipelines.billing.follow_up import follow_up
from pipelines.core.database import query_table, run_query
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import PROJECT, Settings
from pipelines.deliveries import withdrawal_notices
from pipelines.deliveries.ledger.events import load_states
from pipelines.deliveries.withdrawal_notices import NOTICES, add_business_days, find_notices
from tests.helpers.delivered_home import (
    FIRST,
    deliver_file,
    match,
    outcome,
    receipt,
    write_delivered_day,
    write_quiet_day,
)
from tests.helpers.lake import Row, at, sha, write_feed
from tests.helpers.representatives import keep

NEXT = FIRST + timedelta(days=1)
BANKS = {"bank-a": "lead", "bank-b": "share"}


def lead(number: int, **changes: Any) -> Row:
    person = {"id_number": f"id-{number}", "phone": f"+86138{number:08d}"}
    return {"channel_id": "search", "lead_id": f"L{number}"} | person | changes


def order(kind: str, subject: str, reason: str = "do_not_contact", **changes: Any) -> Row:
    subject = subject if kind == "lead" else sha(subject)
    times = {"effective_at": at("2026-03-03 09:00")}
    return {"subject_type": kind, "subject": subject, "reason": reason} | times | changes


def read_notice(settings: Settings, day: date, institution: str) -> list[dict[str, str]]:
    folder = settings.day_folder(settings.outbox, day) / institution
    if not (folder / "withdrawal_notice.csv").is_file():
        return []
    newest = read_manifest(folder)["notices"][-1]["file"]
    with (folder / newest).open(newline="") as file:
        return list(csv.DictReader(file))


def noticed(settings: Settings, day: date = NEXT) -> set[tuple[str, str]]:
    """Return match and kind of every notice of `day`."""
    folders = settings.day_folder(settings.outbox, day).glob("*/withdrawal_notice.csv")
    rows = [row for path in folders for row in read_notice(settings, day, path.parent.name)]
    found = [(row["match_id"], row["kind"]) for row in rows]
    assert len(found) == len(set(found))
    return set(found)


def both(number: int) -> list[Row]:
    return [match(number, bank, product) for bank, product in BANKS.items()]


def ids(*numbers: int) -> set[str]:
    return {row["match_id"] for number in numbers for row in both(number)}


@pytest.fixture(scope="module")
def followed_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with four persons, each delivered to two banks; the last lead has no number."""
    settings = Settings(home=tmp_path_factory.mktemp("notices") / "home", threads=1)
    leads = [lead(1), lead(2), lead(3), lead(4, id_number=None, phone="+8613800000003")]
    matches = [row for number in (1, 2, 3, 4) for row in both(number)]
    write_delivered_day(settings, FIRST, matches, leads=leads)
    follow_up(settings, FIRST)
    return settings.home


@pytest.fixture
def settings(followed_up: Path, tmp_path: Path) -> Settings:
    """A copy of that home, which a test may change."""
    return Settings(
        home=Path(shutil.copytree(followed_up, tmp_path, dirs_exist_ok=True)), threads=1
    )


def test_without_an_order_there_is_no_notice(settings):
    write_quiet_day(settings, NEXT)
    assert follow_up(settings, NEXT)["notices"] == 0
    assert not settings.day_folder(settings.outbox, NEXT).exists()


@pytest.mark.parametrize(
    ("orders", "expected"),
    keep(
        (0, 2, 3, 5, 6),
        [
            ([order("id_number", "id-1", "erasure")], {(name, "erasure") for name in ids(1)}),
            ([order("phone", "+8613800000002")], {(name, "do_not_contact") for name in ids(2)}),
            (
                [order("lead", "search/L1", "consent_withdrawn")],
                {(n, "withdrawal") for n in ids(1)},
            ),
            # the lead without a number belongs to the number that came with its phone
            ([order("id_number", "id-3")], {(name, "do_not_contact") for name in ids(3, 4)}),
            ([order("lead", "search/L4")], {(name, "do_not_contact") for name in ids(3, 4)}),
            (
                [order("id_number", "id-1", institution_id="bank-b")],
                {("m1-bank-b-share", "do_not_contact")},
            ),
            ([order("id_number", "id-1", "fraud")], set()),
            ([order("id_number", "id-1", "existing_customer", institution_id="bank-a")], set()),
            ([order("id_number", "id-99")], set()),
        ],
    ),
)
def test_an_order_reaches_the_institutions_that_have_the_person(settings, orders, expected):
    write_quiet_day(settings, NEXT, suppressions=orders)
    follow_up(settings, NEXT)
    assert noticed(settings) == expected
    later = NEXT + timedelta(days=1)  # an order is noticed once
    write_quiet_day(settings, later)
    assert follow_up(settings, later)["notices"] == 0


@pytest.fixture(scope="module")
def firms_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two firms of one owner, a firm of another one, and the owner as a borrower."""
    settings = Settings(home=tmp_path_factory.mktemp("firms") / "home", threads=1)
    firm = {"segment": "business", "owner_id_number": "id-8"}
    leads = [lead(5, **firm), lead(6, **firm), lead(7, **firm | {"owner_id_number": "id-9"})]
    matches = [row for number in (5, 6, 7, 8) for row in both(number)]
    write_delivered_day(settings, FIRST, matches, leads=[*leads, lead(8)])
    return settings.home


@pytest.mark.parametrize(
    ("are", "orders", "expected"),
    [
        ("one", order("id_number", "id-5"), ids(5, 6)),
        ("one", order("lead", "search/L6"), ids(5, 6)),
        ("one", order("id_number", "id-8"), ids(5, 6, 8)),
        ("one", order("phone", "+8613800000008"), ids(5, 6, 8)),
        ("one", order("id_number", "id-9"), ids(7)),
        ("several", order("id_number", "id-5"), ids(5)),
        ("several", order("lead", "search/L8"), ids(5, 6, 8)),
    ],
)
def test_an_order_reaches_the_firms_of_an_owner_by_policy(
    firms_home, tmp_path, monkeypatch, are, orders, expected
):
    stated = policy.identity(NEXT)
    firms = stated.firms_of_one_owner.model_copy(update={"are": are})
    changed = stated.model_copy(update={"firms_of_one_owner": firms})
    monkeypatch.setattr(policy, "identity", lambda _: changed)
    settings = Settings(home=Path(shutil.copytree(firms_home, tmp_path / "home")), threads=1)
    write_quiet_day(settings, NEXT, suppressions=[orders])
    found = find_notices(settings, NEXT, NOTICES.empty_table())
    assert set(found["match_id"].to_pylist()) == expected


def test_a_withdrawal_on_another_lead_of_the_person_counts(settings):
    withdrawn = lead(7, id_number="id-2", phone=None, consent_withdrawn_at=at("2026-03-03 10:00"))
    write_quiet_day(settings, NEXT, leads=[withdrawn])
    follow_up(settings, NEXT)
    assert noticed(settings) == {(name, "withdrawal") for name in ids(2)}


def test_a_new_consent_after_the_withdrawal_is_not_noticed(tmp_path):
    settings = Settings(home=tmp_path, threads=1)
    before = lead(1, consent_withdrawn_at=at("2026-03-01 10:00"))
    again = lead(2, id_number="id-1", consent_at=at("2026-03-02 09:00"))
    write_delivered_day(settings, FIRST, both(2), leads=[before, again])
    assert follow_up(settings, FIRST)["notices"] == 0


def test_a_lead_that_links_an_older_order_later_is_noticed_then(settings):
    write_quiet_day(settings, NEXT, suppressions=[order("phone", "+8613899999999")])
    follow_up(settings, NEXT)
    assert noticed(settings) == set()
    later = NEXT + timedelta(days=1)
    write_quiet_day(settings, later, leads=[lead(8, id_number="id-1", phone="+8613899999999")])
    follow_up(settings, later)
    assert noticed(settings, later) == {(name, "do_not_contact") for name in ids(1)}


def test_a_version_that_was_retracted_is_noticed_as_well(settings):
    deliver_file(settings, FIRST, "bank-a", ["m2-bank-a-lead"])
    follow_up(settings, FIRST)
    write_quiet_day(settings, NEXT, suppressions=[order("id_number", "id-1")])
    follow_up(settings, NEXT)
    assert noticed(settings) == {(name, "do_not_contact") for name in ids(1)}


def test_the_notice_names_delivery_and_deadline_and_no_person(settings):
    usd = [lead(11, currency="USD"), lead(12)]
    write_delivered_day(settings, NEXT, both(11) + both(12), leads=usd)
    follow_up(settings, NEXT)
    later = NEXT + timedelta(days=1)  # a Wednesday
    orders = [order("id_number", "id-11"), order("id_number", "id-12")]
    write_quiet_day(settings, later, suppressions=orders)
    follow_up(settings, later)
    rows = {row["match_id"]: row for row in read_notice(settings, later, "bank-a")}
    first = rows["m11-bank-a-lead"]
    assert first["deadline"] == "2026-03-18"  # ten business days in US dollars
    assert rows["m12-bank-a-lead"]["deadline"] == f"{later}"
    assert first["delivery_id"] == "20260303-bank-a"
    assert first["effective_on"] == "2026-03-03"
    assert list(first) == [
        "match_id",
        "delivery_id",
        "kind",
        "effective_on",
        "deadline",
        "schema_version",
    ]
    folder = settings.day_folder(settings.outbox, later) / "bank-a"
    text = "".join(path.read_text() for path in folder.iterdir())
    assert not any(word in text for word in ("id-11", "+86138", sha("id-11"), "L11"))


def test_a_folder_without_a_lead_file_has_a_manifest_that_keeps_its_contract(settings):
    returned = outcome(match(2, "bank-b", "share"), "returned", "2026-03-03 10:00", reason="x")
    answer = receipt(settings, FIRST, "bank-a")
    orders = [order("id_number", "id-1")]
    write_quiet_day(settings, NEXT, [returned], suppressions=orders, receipts=[answer])
    file = PROJECT / "docs/reference/schemas/delivery_manifest.schema.json"
    schema = json.loads(file.read_text("utf-8"))
    for _ in range(2):  # the step may run again
        follow_up(settings, NEXT)
        outbox = settings.day_folder(settings.outbox, NEXT)
        found = {path.parent.name: json.loads(path.read_text()) for path in outbox.glob("*/*.json")}
        assert found.keys() == {"bank-a", "bank-b"}
        for name, manifest in found.items():
            jsonschema.validate(manifest, schema)
            assert (manifest["state"], manifest["version"]) == ("nothing", 0)
            assert "no lead of 2026-03-03 was matched" in manifest["message"]
            assert manifest["notices"][-1]["delivery_id"] == f"notice-20260303-{name}"
    states = load_states(settings, FIRST)["state"].to_pylist()
    assert set(states) == {"received", "sent"}
    assert load_states(settings, NEXT).num_rows == 0


def test_an_unanswered_notice_is_overdue_until_it_is_acknowledged(settings):
    write_quiet_day(settings, NEXT, suppressions=[order("id_number", "id-1")])
    follow_up(settings, NEXT)

    def find(day: date) -> dict[str, int]:
        manifest = read_manifest(settings.day_folder(settings.settlement, day))
        return {finding["id"]: finding["count"] for finding in manifest["findings"]}

    assert find(NEXT) == {"notices_open": 2}
    newest = read_manifest(settings.day_folder(settings.outbox, NEXT) / "bank-a")["notices"][-1]
    answer = {
        "institution_id": "bank-a",
        "delivery_id": newest["delivery_id"],
        "version": 1,
        "sha256": newest["sha256"],
        "rows": newest["rows"],
        "at": at("2026-03-04 08:00"),
    }
    later = NEXT + timedelta(days=1)
    write_quiet_day(settings, later, receipts=[answer])
    follow_up(settings, later)
    assert find(later) == {"notices_overdue": 1}
    refused = answer | {
        "institution_id": "bank-b",
        "delivery_id": "notice-20260303-bank-b",
        "status": "nak",
        "at": at("2026-03-05 08:00"),
    }
    last = later + timedelta(days=1)
    write_quiet_day(settings, last, receipts=[refused])
    follow_up(settings, last)
    assert find(last) == {"deliveries_refused": 1, "notices_overdue": 1}


def test_a_notice_stays_beside_a_lead_file_that_is_delivered_again(settings):
    write_quiet_day(settings, NEXT, suppressions=[order("id_number", "id-1")])
    follow_up(settings, NEXT)
    folder = settings.day_folder(settings.outbox, NEXT) / "bank-a"
    before = (folder / "withdrawal_notice.csv").read_bytes()
    follow_up(settings, NEXT)
    assert (folder / "withdrawal_notice.csv").read_bytes() == before
    assert len(read_manifest(folder)["notices"]) == 1


def test_of_1000_people_each_institution_hears_of_its_own(tmp_path):
    settings = Settings(home=tmp_path, threads=2)
    random_numbers = random.Random(16)
    banks = [f"bank-{letter}" for letter in "ab"]
    leads: dict[date, list[Row]] = defaultdict(list)
    matches: dict[date, list[Row]] = defaultdict(list)
    has: dict[int, set[str]] = defaultdict(set)
    for number in range(1000):
        for copy in range(random_numbers.choice([1, 1, 2])):
            day = FIRST + timedelta(days=copy)
            name = f"L{number}-{copy}"
            leads[day].append(lead(number, lead_id=name))
            for bank in random_numbers.sample(banks, random_numbers.randrange(3)):
                row = match(number, bank, BANKS[bank], lead_id=name)
                row["match_id"] += f"-{copy}"
                matches[day].append(row)
                has[number].add(row["match_id"])
    for day in sorted(leads):
        write_delivered_day(settings, day, matches[day], leads=leads[day])
        follow_up(settings, day)
    people = random_numbers.sample(range(1000), 100)
    orders = [
        order("id_number", f"id-{n}", "erasure")
        if n % 2
        else order("phone", f"+86138{n:08d}", "erasure")
        for n in people
    ]
    day = max(leads) + timedelta(days=1)
    write_quiet_day(settings, day, suppressions=orders)
    follow_up(settings, day)
    assert {name for name, _ in noticed(settings, day)} == set().union(*(has[n] for n in people))
    for bank in banks:
        assert all(f"-{bank}-" in row["match_id"] for row in read_notice(settings, day, bank))


@pytest.mark.parametrize("seed", keep((0, 1), range(4)))
def test_the_few_leads_that_are_read_give_the_notices_of_all(tmp_path, monkeypatch, seed):
    """Persons share phones and numbers, so that orders reach them over several leads."""
    settings, draw = Settings(home=tmp_path, threads=1), random.Random(seed)
    for back in range(3):
        day = FIRST + timedelta(days=back)
        leads = [
            lead(
                number,
                id_number=draw.choice([None, f"id-{draw.randrange(60)}"]),
                phone=f"+86138{draw.randrange(80):08d}",
                consent_withdrawn_at=at("2026-03-04 12:00") if draw.random() < 0.03 else None,
                segment=draw.choice(["consumer", "business"]),
                owner_id_number=draw.choice([None, None, f"id-{draw.randrange(60)}"]),
            )
            for number in range(100 * back, 100 * back + 100)
        ]
        matches = [row for number in range(100 * back, 100 * back + 100) for row in both(number)]
        write_delivered_day(settings, day, matches, leads=leads)
    orders = [
        order("id_number", f"id-{draw.randrange(60)}", "erasure"),
        order("phone", f"+86138{draw.randrange(80):08d}"),
        order("lead", f"search/L{draw.randrange(300)}", institution_id="bank-a"),
    ]
    write_feed(settings, "suppressions", day, orders)
    nothing = NOTICES.empty_table().select(["match_id", "kind"])
    kept: list[int] = []

    def count_leads(connection: Any, *arguments: Any) -> Any:
        kept.append(connection.sql("select count(*) from leads").fetchall()[0][0])
        return query_table(connection, *arguments)

    def read_all(connection: Any, file: Path, *parameters: Any) -> None:
        if file.stem != "notice_candidates":
            run_query(connection, file, *parameters)
            return
        for name in ("leads", "delivered"):
            connection.execute(f"create view {name} as from lake_{name}")

    monkeypatch.setattr(withdrawal_notices, "query_table", count_leads)
    few = find_notices(settings, day, nothing)
    monkeypatch.setattr(withdrawal_notices, "run_query", read_all)
    assert find_notices(settings, day, nothing).to_pylist() == few.to_pylist() != []
    assert kept[0] < kept[1] == 300


def test_business_days_skip_weekends():
    assert add_business_days(date(2026, 3, 6), 0) == date(2026, 3, 6)
    assert add_business_days(date(2026, 3, 6), 1) == date(2026, 3, 9)
    assert add_business_days(date(2026, 3, 4), 10) == date(2026, 3, 18)
