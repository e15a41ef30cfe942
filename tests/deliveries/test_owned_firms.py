"""Present knowledge and the last gate connect a firm with its owner, and with the owner's firms."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import pytest

from expectations import policy
from expectations.policy_types import Identity, OwnedFirms
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.deliveries.last_gate.evidence import load_evidence
from pipelines.deliveries.person_orders import load_person_orders
from tests.helpers.lake import Row, at, sha, write_day, write_feed, write_matches

DAY = date(2026, 3, 10)
OWNER, PARTNER, AGENT = "owner", "partner", "agent"


def firm(name: str, owner: str | None = OWNER, **changes: object) -> Row:
    """Return a business lead with a number and a phone of its own."""
    number = {"id_number": f"number of {name}", "phone": f"phone of {name}"}
    row = {"channel_id": "search", "lead_id": name, "segment": "business"} | number
    return row | {"owner_id_number": owner} | changes


def borrower(owner: str) -> Row:
    """Return the lead of an owner as a person."""
    person = {"id_number": owner, "phone": f"phone of {owner}", "owner_id_number": None}
    return firm(owner, segment="consumer", **person)


LEADS = {
    DAY: [
        firm("one"),
        firm("two_again", None, id_number="number of two"),
        firm("unnamed", id_number=None),
        firm("disputed"),
        firm("partners", PARTNER),
        firm("mistyped", is_owner_id_valid=False),
        # a sole trader: the firm has the owner's number
        firm("own", id_number=OWNER),
        firm("neighbour", None, phone="phone of unnamed"),
        *(firm(f"agent{n}", AGENT) for n in range(3)),
    ],
    DAY - timedelta(days=2): [
        firm("two"),
        firm("disputed_before", PARTNER, id_number="number of disputed"),
        borrower(OWNER),
        borrower(AGENT),
    ],
    # before the days of a person, within the days of an owner
    DAY - timedelta(days=20): [firm(f"agent{n}", AGENT) for n in range(3, 6)],
}
ONE = {"one", "two", "two_again", "unnamed"}
SELF = {OWNER, "own"}
DISPUTED = {"disputed", "disputed_before"}
EXPECTED = {
    "one": {*ONE, *DISPUTED, *SELF},
    "two_again": {*ONE, *DISPUTED, *SELF},
    # a lead without a registration obeys who else came with its phone, and the other way round
    "unnamed": {*ONE, *DISPUTED, *SELF, "neighbour"},
    "neighbour": {*ONE, *DISPUTED, *SELF, "neighbour"},
    "disputed": {*ONE, *DISPUTED, *SELF, "partners"},
    "partners": {*DISPUTED, "partners"},
    "mistyped": {"mistyped", *SELF},
    "own": SELF,
    **{f"agent{n}": {f"agent{n}", AGENT} for n in range(3)},
}
SEVERAL = {name: {name} for name in EXPECTED} | {
    **{name: {name, *SELF} for name in ("one", "mistyped")},
    "own": SELF,
    "two_again": {"two", "two_again", *SELF},
    "unnamed": {"unnamed", "neighbour", *SELF},
    "neighbour": {"unnamed", "neighbour"},
    "disputed": {*DISPUTED, *SELF},
    **{f"agent{n}": {f"agent{n}", AGENT} for n in range(3)},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    order = {"subject_type": "id_number", "subject": sha(PARTNER), "reason": "do_not_contact"}
    order |= {"effective_at": at("2026-03-01 09:00")}
    write_day(settings, DAY, suppressions=[order])
    for day, rows in LEADS.items():
        write_feed(settings, "leads", day, rows)
    match = {"channel_id": "search", "institution_id": "bank", "product_id": "loan"}
    names = [row["lead_id"] for row in LEADS[DAY]]
    write_matches(
        settings, DAY, [match | {"match_id": f"m-{name}", "lead_id": name} for name in names]
    )
    return settings


@pytest.fixture
def connection(home: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(home) as connection:
        leads = ", ".join(f"('search', '{row['lead_id']}')" for row in LEADS[DAY])
        connection.execute(
            f"create table matches as from (values {leads}) as listed (channel_id, lead_id)"
        )
        yield connection


def load(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    load_person_orders(connection, settings, DAY, DAY)
    load_evidence(connection, settings, DAY, DAY, ["bank"])


def find_related(
    connection: duckdb.DuckDBPyConnection, table: str, column: str
) -> dict[str, set[str]]:
    """Return the leads whose restrictions each lead obeys."""
    related: dict[str, set[str]] = defaultdict(set)
    for name, other in connection.execute(f"select lead_id, {column} from {table}").fetchall():
        related[name].add(other)
    return related


def set_policy(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    stated = policy.identity(DAY)
    firms = OwnedFirms.model_validate(stated.firms_of_one_owner.model_dump() | changes)
    changed: Identity = stated.model_copy(update={"firms_of_one_owner": firms})
    monkeypatch.setattr(policy, "identity", lambda _: changed)


@pytest.mark.parametrize(("are", "expected"), [("one", EXPECTED), ("several", SEVERAL)])
def test_a_firm_obeys_its_owner_and_the_firms_of_its_owner_by_policy(
    home: Settings,
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    are: str,
    expected: dict[str, set[str]],
):
    set_policy(monkeypatch, are=are)
    load(connection, home)
    assert find_related(connection, "related_leads", "related_lead_id") == expected
    assert find_related(connection, "gate.persons", "other_lead_id") == expected


def test_an_order_that_names_an_owner_holds_for_the_firms_that_may_be_the_owners(
    home: Settings, connection: duckdb.DuckDBPyConnection
):
    load(connection, home)
    for table in ("suppression_orders", "gate.objections"):
        rows = connection.execute(f"select distinct lead_id from {table}").fetchall()
        found = {name for (name,) in rows}
        assert found == {"partners", "disputed", "one", "two_again", "unnamed", "neighbour"}, table
