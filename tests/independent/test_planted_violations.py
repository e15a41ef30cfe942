"""The independent check finds nothing in a clean home, and each violation that is planted in it."""

import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from tests.helpers.remembered_gate import remembered_gate
from tests.independent.check import Check, read_deliveries
from tests.independent.edited_home import EditedHome, Plan
from tests.independent.landed import Landing, Row
from tests.independent.restrictions import Lead, Policy, sha
from tests.independent.small_market import DAY, encode

LENDER = "lender0-a"
EARLY = 1.0
"""A time of arrival before every lead file: seconds since the epoch."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with remembered_gate():
        home = EditedHome(tmp_path_factory.mktemp("markets"), 2, seed=1)
        assert home.judge(Plan({}, runs_again=False)) == []
    return home.settings.home


@pytest.fixture
def home(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "home"))


def find_kinds(home: Path) -> set[str]:
    return {violation.kind for violation in Check(home, home / "landing").run(DAY, DAY)}


def delivered(home: Path) -> tuple[Row, Lead]:
    """Return a delivered row of `LENDER` and its landed lead."""
    manifest = home / "outbox" / f"date={DAY}" / LENDER / "manifest.json"
    row = next(read_deliveries(DAY, manifest)).rows[0]
    for file in Landing(home / "landing").leads:
        for values in file.rows:
            if values["phone"] == row["phone"] and values["amount"] == row["amount"]:
                return row, Lead(values, file)
    raise AssertionError("not landed")


def land(home: Path, feed: str, source: str, rows: list[Row], day: date = DAY) -> None:
    """Write a file as if it had been there before the day was run."""
    path = home / "landing" / feed / source / f"{day}" / "planted.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(rows, "csv"))
    os.utime(path, (EARLY, EARLY))


def change_rows(home: Path, feed: str, source: str, **change: str) -> None:
    """Write every row of a source's files of the day again with other values."""
    for path in (home / "landing" / feed / source).glob(f"{DAY}/*"):
        file = Landing(home / "landing").read_one(str(path.relative_to(home / "landing")))
        path.write_bytes(encode([row | change for row in file.rows], path.name.partition(".")[2]))
        os.utime(path, (EARLY, EARLY))


def order(kind: str, subject: str, institution: str = "") -> Row:
    return {
        "subject_type": kind,
        "subject": subject,
        "reason": "erasure",
        "institution_id": institution,
        "effective_at": f"{DAY}T00:00:00+08:00",
    }


def suppress(kind: str, institution: str) -> Callable[[Path], None]:
    def plant(home: Path) -> None:
        _, lead = delivered(home)
        subject = {
            "id_number": sha(lead.id_number),
            "phone": sha(lead.phone),
            "lead": lead.name,
        }[kind]
        land(home, "suppressions", "planted", [order(kind, subject, institution)])

    return plant


def copy_lead(**change: str) -> Callable[[Path], None]:
    def plant(home: Path) -> None:
        _, lead = delivered(home)
        land(home, "leads", lead.file.source, [lead.values | change])

    return plant


FIRM = {"segment": "business", "owner_id_number": "11010119550101003X"}
OTHER = {"lead_id": "owner", "phone": "+8613900139000", "id_type": "", "id_number": "91-1"}
OWNER = OTHER | {"id_type": "prc_resident_id", "id_number": FIRM["owner_id_number"]}
OWNER |= {"owner_id_number": ""}


def own_firms(subject: str, others: int = 1, **owner: str) -> Callable[[Path], None]:
    """Return the plant of a firm with others of its owner, and an order that names `subject`.

    `owner`: columns of the lead of the owner as a borrower.
    """

    def plant(home: Path) -> None:
        _, lead = delivered(home)
        firms = [
            lead.values | FIRM | OTHER | {"lead_id": f"firm{n}", "id_number": f"91-{n}"}
            for n in range(1, others + 1)
        ]
        land(home, "leads", lead.file.source, [lead.values | FIRM])
        land(home, "leads", "planted", [*firms, lead.values | OWNER | owner])
        land(home, "suppressions", "planted", [order("id_number", sha(subject))])

    return plant


NO_ROLE = "consent by a role that may not consent"


def copy_to_other_channel(home: Path) -> None:
    _, lead = delivered(home)
    withdrawn = {"lead_id": "other", "consent_withdrawn_at": f"{DAY}T12:00:00+08:00"}
    land(home, "leads", "planted", [lead.values | withdrawn])


def change_consent(moment: str) -> Callable[[Path], None]:
    def plant(home: Path) -> None:
        _, lead = delivered(home)
        change_rows(home, "leads", lead.file.source, consent_at=moment)
        # the lead file says the same, so that the row is still found
        path = home / "outbox" / f"date={DAY}" / LENDER / "leads.csv"
        rows = [row | {"consent_at": moment} for row in _rows(home)]
        times = path.stat().st_mtime
        path.write_bytes(encode(rows, "csv"))
        os.utime(path, (times, times))

    return plant


def _rows(home: Path) -> list[Row]:
    manifest = home / "outbox" / f"date={DAY}" / LENDER / "manifest.json"
    return list(next(read_deliveries(DAY, manifest)).rows)


def add_rule(attribute: str, op: str, value: str) -> Callable[[Path], None]:
    def plant(home: Path) -> None:
        rule = {"attribute": attribute, "op": op, "value": value}
        products = {row["product_id"] for row in _rows(home)}
        rules = [{"product_id": product} | rule for product in sorted(products)]
        land(home, "product_rules", LENDER, rules)

    return plant


def change_products(**change: str) -> Callable[[Path], None]:
    return lambda home: change_rows(home, "products", LENDER, **change)


def change_list(**change: str) -> Callable[[Path], None]:
    return lambda home: change_rows(home, "institutions", "platform0", **change)


def remove_leads(home: Path) -> None:
    shutil.rmtree(home / "landing" / "leads")


def repeat_row(home: Path) -> None:
    path = home / "outbox" / f"date={DAY}" / LENDER / "leads.csv"
    times = path.stat().st_mtime
    path.write_bytes(encode([*_rows(home), *_rows(home)], "csv"))
    os.utime(path, (times, times))


def state_other_version(home: Path) -> None:
    path = home / "outbox" / f"date={DAY}" / LENDER / "leads.csv"
    times = path.stat().st_mtime
    path.write_bytes(encode([row | {"schema_version": "1"} for row in _rows(home)], "csv"))
    os.utime(path, (times, times))


def test_a_home_without_edits_has_rows_and_no_violation(clean: Path):
    check = Check(clean, clean / "landing")
    assert check.run(DAY, DAY) == []
    assert check.rows >= 10
    assert check.files >= 3
    assert not check.policy.not_judged
    assert not check.landed.unread


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        *(
            (suppress(kind, who), "suppressed")
            for kind in ("id_number", "phone", "lead")
            for who in ("", "all", "*", LENDER)
        ),
        (copy_lead(consent_withdrawn_at="2026-03-04T12:00:00+08:00"), "consent withdrawn"),
        (copy_lead(consent_scope="lender-x"), "consent does not cover the institution"),
        (copy_to_other_channel, "consent withdrawn on another lead of the person"),
        (change_consent("2025-01-01T00:00:00+08:00"), "consent expired"),
        (change_consent("2026-03-05T00:00:00+08:00"), "consent not given yet"),
        *(
            (copy_lead(segment="business", consent_by_role=role), NO_ROLE)
            for role in ("employee", "Employee ", "ownr")
        ),
        (own_firms(FIRM["owner_id_number"]), "suppressed"),
        (own_firms("911"), "suppressed"),
        (
            own_firms("0", consent_withdrawn_at="2026-03-04T12:00:00+08:00"),
            "consent withdrawn on another lead of the person",
        ),
        (add_rule("bureau_score", "ge", "990"), "rule bureau_score ge"),
        (add_rule("amount", "le", "1"), "rule amount le"),
        (add_rule("age_years", "between", "101|102"), "rule age_years between"),
        (add_rule("region", "in", "XX|YY"), "rule region in"),
        (add_rule("currency", "not_in", "CNY"), "rule currency not_in"),
        (add_rule("revenue_annual", "known", "true"), "rule revenue_annual known"),
        (add_rule("amount", "gte", "1"), "rule amount gte"),
        (change_products(status="paused"), "product paused"),
        (change_products(valid_to="2026-03-03"), "product not valid"),
        (change_products(valid_from="2026-03-05"), "product not valid"),
        (change_products(product_id="other"), "product not in the catalogue"),
        (change_products(amount_max="1"), "amount outside the product's"),
        (change_products(term_max_months="1"), "term outside the product's"),
        (change_products(currency="USD"), "another currency"),
        (change_products(segment="business"), "another segment"),
        (change_products(apr_min="0.25"), "product above the price cap"),
        (change_products(apr_max="0.01"), "rate above the product's or the cap"),
        (change_list(admitted_to="2026-03-03"), "institution not admitted"),
        (change_list(admitted_from="2026-03-05"), "institution not admitted"),
        (change_list(institution_id="other"), "institution not admitted"),
        (remove_leads, "no landed lead has these values"),
        (repeat_row, "one phone 2 times in a file"),
        (state_other_version, "rows state another schema version than the manifest"),
    ],
)
def test_a_planted_violation_is_found(home: Path, plant: Callable[[Path], None], kind: str):
    plant(home)
    assert kind in find_kinds(home)


@pytest.mark.parametrize(
    ("segment", "role"),
    [("business", "owner"), ("business", "Authorised  Agent"), ("business", ""), ("", "employee")],
)
def test_a_role_that_may_consent_is_no_violation(home: Path, segment: str, role: str):
    copy_lead(segment=segment, consent_by_role=role)(home)
    assert find_kinds(home).isdisjoint({NO_ROLE, "consent without a role"})


@pytest.mark.parametrize(("subject", "is_found"), [("911", False), (OWNER["id_number"], True)])
def test_an_order_on_a_firm_of_an_agent_holds_for_that_firm_alone(
    home: Path, subject: str, is_found: bool
):
    own_firms(subject, others=6)(home)
    assert ("suppressed" in find_kinds(home)) is is_found


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"daily_quota": "0"}, "quota"), ({"daily_budget": "1", "price_model": "cpl"}, "budget")],
)
def test_a_lead_file_above_its_caps_is_found(home: Path, change: dict[str, str], kind: str):
    change_rows(home, "products", LENDER, **change)
    assert any(found.startswith(f"{kind}: ") for found in find_kinds(home))


@pytest.mark.parametrize(("stated", "amount"), [("", "20000"), ("300", "300"), ("NULL", "20000")])
def test_an_amount_that_is_not_stated_is_the_assumed_one(tmp_path: Path, stated: str, amount: str):
    row = {"lead_id": "a", "segment": "consumer", "currency": "CNY", "amount": stated}
    land(tmp_path, "leads", "ads", [row])
    (lead,) = Landing(tmp_path / "landing").read_one(f"leads/ads/{DAY}/planted.csv").rows
    assert Policy().complete(lead, "ads", DAY) == row | {"amount": amount}


def test_what_arrives_after_the_lead_file_is_not_known_to_it(home: Path):
    suppress("phone", "")(home)
    path = home / f"landing/suppressions/planted/{DAY}/planted.csv"
    os.utime(path, (4e9, 4e9))
    assert find_kinds(home) == set()
