"""A partner speaks only for itself: which outcomes count, and what the page and receipts say."""

import csv
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from expectations import policy
from pipelines.core.home.shared_marts import read_mart
from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries.outcome_receipts import list_institutions, load_receipts, publish_receipts
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE
from tests.helpers.lake import Row, at, write_day, write_matches
from tests.helpers.representatives import keep
from tests.transform.conftest import DAY, FIRST, build_all

BANK = {"institution_id": "bank", "product_id": "loan"}
FUND = {"institution_id": "fund", "product_id": "loan"}
UNLINKED = "unlinked_outcomes"
OWN = {"history_kind": None, "event": "approved"}
"""An outcome that the institution sent itself."""


def lead(number: int) -> Row:
    return {"channel_id": "search", "lead_id": f"L{number:04}"}


def write_home(home: Settings, outcomes: list[Row], delivered: list[Row], leads: int) -> None:
    """Write leads and deliveries of FIRST, and outcomes taken in on DAY."""
    products = [BANK, FUND, BANK | {"product_id": "card"}]
    institutions = [{"institution_id": name} for name in ("bank", "fund")]
    write_day(
        home,
        FIRST,
        leads=[lead(number) for number in range(leads)],
        products=products,
        institutions=institutions,
    )
    write_day(home, DAY, outcomes=outcomes)
    write_matches(home, FIRST, delivered)


def read(home: Settings, name: str) -> list[dict[str, Any]]:
    return read_mart(home.day_folder(home.marts, DAY), name).to_pylist()


def reasons(home: Settings) -> dict[int, str | None]:
    """Return line -> internal reason, of the outcomes taken in on DAY."""
    return {row["line"]: row["unlinked_reason"] for row in read(home, "outcome_receipts")}


def publish_empty_quarantine(home: Settings) -> None:
    with publishing(home.day_folder(home.quarantine / "outcomes", DAY), {}) as folder:
        write_parquet(QUARANTINE.empty_table(), folder / "quarantine.parquet")


def read_receipt(home: Settings, institution: str) -> list[dict[str, str]]:
    folder = home.day_folder(home.outbox, DAY) / institution
    version = read_manifest(folder)["receipts"][-1]
    with (folder / version["file"]).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


OTHER_CLAIMS: list[tuple[Row, str]] = [
    ({"match_id": "b1"}, "unfounded_report"),
    ({"match_id": "f20"}, "not_delivered"),  # the match of another
    ({"match_id": "0123456789abcdef"}, "not_delivered"),  # a guess
    (lead(2) | {"match_id": "f30"}, "not_delivered"),  # an own lead beside the match of another
    (lead(3) | {"product_id": "loan-9999"}, "other_product"),
    ({"match_id": "b4", "product_id": "loan-9999"}, "other_product"),
    ({}, "names_no_lead"),
]
"""Claims of a lender that invents the most -> what its receipt says to each."""


def test_of_800_invented_approvals_none_trains_and_the_lender_is_named(home: Settings):
    recorded = {"recorded_at": at(f"{DAY} 09:00")}
    invented = [
        BANK | lead(number) | OWN | recorded | {"file_line": number + 2, "file": "more.csv"}
        for number in range(800)
    ]
    others = [
        BANK | OWN | recorded | claim | {"file_line": number, "file": "others.csv"}
        for number, (claim, _) in enumerate(OTHER_CLAIMS)
    ]
    honest = FUND | lead(5) | OWN | recorded | {"file_line": 2}
    delivered = [FUND | lead(number) | {"match_id": f"f{number}"} for number in range(300)]
    delivered += [BANK | lead(number) | {"match_id": f"b{number}"} for number in range(8)]
    write_home(home, [*invented, *others, honest], delivered, leads=400)
    build_all(home, DAY)
    publish_empty_quarantine(home)
    assert [(row["institution_id"], row["lead_id"]) for row in read(home, "outcomes")] == [
        ("fund", "L0005")
    ]
    assert {row["institution_id"] for row in read(home, "training_pairs")} == {"fund"}
    (finding,) = read_manifest(home.day_folder(home.marts, DAY))["findings"]
    lines = len(invented) + len(others)
    assert (finding["id"], finding["count"]) == ("outcomes_not_received", lines)
    assert finding["sources"] == ["bank"]
    assert "other_institution 294" in finding["detail"]
    assert "unknown_lead 400" in finding["detail"]

    assert list_institutions(home, DAY) == ["bank", "fund"]
    publish_receipts(home, DAY, ["bank", "fund"], {})
    written = read_receipt(home, "bank")
    assert {row["status"] for row in written} == {"ignored"}
    by_file: dict[str, list[dict[str, str]]] = {"more.csv": [], "others.csv": []}
    for row in written:
        by_file[row["file"].rpartition("/")[2]].append(row)
    receipt = by_file["more.csv"]
    assert [int(row["line"]) for row in receipt] == list(range(2, 802))
    # nobody learns by guessing which leads exist, or who received them
    assert {row["reason"] for row in receipt} == {"not_delivered", "unfounded_report"}
    assert [row["reason"] for row in by_file["others.csv"]] == [why for _, why in OTHER_CLAIMS]
    assert [row["status"] for row in read_receipt(home, "fund")] == ["accepted"]


def test_values_are_judged_against_the_product_and_the_law(home: Settings):
    good = BANK | OWN | {"recorded_at": at(f"{DAY} 09:00"), "event_at": at(f"{DAY} 08:00")}
    cases: list[tuple[Row, str | None]] = [
        ({}, None),
        ({"apr": 0.18, "amount": 100_000.0, "currency": "CNY"}, None),
        ({"apr": 0.1804, "amount": 1_000.0}, None),
        ({"apr": 0.36}, "rate_over_cap"),
        ({"apr": 18.0}, "rate_over_cap"),  # per cent
        ({"apr": 0.2}, "rate_over_product"),
        ({"apr": 0.23, "event": "declined"}, "rate_over_product"),
        ({"amount": 101_000.0}, None),
        ({"amount": 101_500.0}, "amount_outside_product"),
        ({"amount": 900_000.0}, "amount_outside_product"),
        ({"amount": 5.0}, "amount_outside_product"),
        ({"currency": "USD"}, "other_currency"),
        ({"currency": "USD", "event": "declined"}, "other_currency"),
        # the contract's own limit is two days; what is left lies after the end of the intake's date
        ({"recorded_at": at("2062-03-01 09:00")}, "in_future"),
        ({"event_at": at("2062-03-01 09:00")}, "in_future"),
        ({"recorded_at": at(f"{DAY + timedelta(days=1)} 00:00")}, "in_future"),
        ({"event_at": at(f"{DAY + timedelta(days=1)} 00:00")}, "in_future"),
        ({"recorded_at": at(f"{DAY} 23:59"), "event_at": at(f"{DAY} 23:59")}, None),
        # nobody decides on a lead before it exists
        ({"event_at": at(f"{FIRST - timedelta(days=1)} 23:59")}, "before_delivery"),
        ({"recorded_at": at(f"{FIRST - timedelta(days=300)} 12:00")}, "before_delivery"),
        ({"event_at": at("1970-01-01 08:00"), "event": "declined"}, "before_delivery"),
        ({"event_at": at(f"{FIRST} 00:00")}, None),
        ({"product_id": "card"}, "other_product"),
        ({"product_id": "invented"}, "other_product"),
        ({"event": "overdue_30"}, "impossible_order"),
        ({"event": "repaid"}, "impossible_order"),
    ]
    outcomes: list[Row] = [
        good | lead(number) | change | {"file_line": number}
        for number, (change, _) in enumerate(cases)
    ]
    # paid out before it was approved: neither report is believed
    late: dict[str, Any] = {"event_at": at(f"{DAY} 07:30")}
    early: dict[str, Any] = {"event_at": at(f"{DAY} 07:00")}
    outcomes += [
        good | lead(50) | late | {"file_line": 50},
        good | lead(50) | early | {"file_line": 51, "event": "funded"},
        # paid out, then behind: as it should be
        good | lead(51) | early | {"file_line": 52, "event": "funded"},
        good | lead(51) | late | {"file_line": 53, "event": "overdue_30"},
        # repaid, then behind; and behind, then repaid
        good | lead(53) | early | {"file_line": 56, "event": "funded"},
        good | lead(53) | late | {"file_line": 57, "event": "repaid"},
        good | lead(53) | {"file_line": 58, "event": "overdue_90"},
        good | lead(54) | early | {"file_line": 59, "event": "funded"},
        good | lead(54) | late | {"file_line": 60, "event": "overdue_90"},
        good | lead(54) | {"file_line": 61, "event": "repaid"},
        # paid out before it was applied for
        good | lead(55) | early | {"file_line": 62, "event": "funded"},
        good | lead(55) | late | {"file_line": 63, "event": "applied"},
        # behind before it was paid out
        good | lead(52) | late | {"file_line": 54, "event": "funded"},
        good | lead(52) | early | {"file_line": 55, "event": "overdue_30"},
    ]
    delivered = [BANK | lead(number) | {"match_id": f"b{number}"} for number in range(60)]
    write_home(home, outcomes, delivered, leads=60)
    build_all(home, DAY)
    expected = {number: reason for number, (_, reason) in enumerate(cases)}
    wrong = dict.fromkeys((50, 51, 54, 55, 57, 58, 62, 63), "impossible_order")
    right = dict.fromkeys((52, 53, 56, 59, 60, 61))
    assert reasons(home) == expected | wrong | right
    findings = read_manifest(home.day_folder(home.marts, DAY))["findings"]
    assert {(f["id"], f["count"]) for f in findings} == {
        ("outcomes_implausible", 26),
        ("outcomes_not_received", 2),
    }


Days = list[tuple[int, int]]
"""Approvals and decisions of each day."""


def write_rates(home: Settings, decided: dict[str, Days]) -> None:
    """Write decisions of each lender on the days from FIRST + 1 on."""
    institutions = [{"institution_id": name} for name in decided]
    products = [row | {"product_id": "loan"} for row in institutions]
    total = sum(decisions for days in decided.values() for _, decisions in days)
    leads = [lead(number) for number in range(total)]
    write_day(home, FIRST, leads=leads, products=products, institutions=institutions)
    rest, matches = iter(leads), []
    outcomes: dict[date, list[Row]] = {}
    for product, days in zip(products, decided.values(), strict=True):
        for number, (approvals, decisions) in enumerate(days, start=1):
            day = FIRST + timedelta(days=number)
            recorded = {"recorded_at": at(f"{day} 09:00"), "history_kind": None}
            for event in ["approved"] * approvals + ["declined"] * (decisions - approvals):
                pair = product | next(rest)
                matches.append(pair | {"match_id": pair["lead_id"]})
                outcomes.setdefault(day, []).append(pair | recorded | {"event": event})
    write_matches(home, FIRST, matches)
    for day, rows in outcomes.items():
        write_day(home, day, outcomes=rows)


def count_lenders(home: Settings, name: str) -> Counter[str]:
    """Return the number of rows of a mart by lender."""
    return Counter(row["institution_id"] for row in read(home, name))


USUAL = [(5, 40)] * 9


def test_a_sudden_change_of_the_approval_rate_does_not_train_before_it_is_confirmed(
    home: Settings, monkeypatch: pytest.MonkeyPatch
):
    """Two ordinary lenders beside it: by chance, and with too few decisions."""
    changes = {
        "bank": [*USUAL, (38, 40), (39, 40)],
        "chance": [*USUAL[:2], (9, 40)],
        "few": [*USUAL[:2], (15, 15)],
    }
    write_rates(home, changes)
    build_all(home, DAY)
    ordinary = {"chance": 3 * 40, "few": 2 * 40 + 15}
    assert count_lenders(home, "outcomes") == ordinary | {"bank": 9 * 40}
    held = read(home, UNLINKED)
    assert {(row["institution_id"], row["unlinked_reason"]) for row in held} == {
        ("bank", "unconfirmed_change")
    }
    assert set(count_lenders(home, "sudden_changes")) == {"bank"}
    (finding,) = read_manifest(home.day_folder(home.marts, DAY))["findings"]
    assert (finding["id"], finding["sources"]) == ("outcomes_sudden_change", ["bank"])

    confirmed = {"institution_id": "bank", "from": DAY - timedelta(days=1), "to": DAY}
    confirmed |= {"confirmed_on": date(2026, 3, 13), "source": "a letter of the bank"}
    patch_sudden_change(monkeypatch, confirmed=[confirmed])
    build_all(home, DAY)
    assert count_lenders(home, "outcomes") == ordinary | {"bank": 11 * 40}
    assert not read_manifest(home.day_folder(home.marts, DAY))["findings"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with one right outcome of one lender, and outcomes of unknown products of others."""
    home = Settings(home=tmp_path_factory.mktemp("few"), threads=2)
    recorded = {"recorded_at": at(f"{DAY} 09:00"), "event": "approved"}
    history = {"history_kind": "simulate"}
    write_home(
        home,
        [
            FUND | lead(0) | OWN | {"recorded_at": at(f"{DAY} 09:00")},
            BANK | lead(0) | recorded | history | {"file_line": 1},
            BANK | lead(0) | recorded | history | {"product_id": "ghost"},
            BANK | lead(1) | recorded | {"product_id": "ghost", "history_kind": None},
            {"institution_id": "nobody", "product_id": "loan"} | lead(1) | recorded,
        ],
        [FUND | lead(0) | {"match_id": "f0"}, BANK | lead(1) | {"match_id": "b1"}],
        leads=2,
    )
    build_all(home, DAY)
    return home


def test_a_receipt_is_versioned_and_an_equal_one_changes_nothing(few: Settings):
    home = few
    publish_empty_quarantine(home)
    folder = home.day_folder(home.outbox, DAY) / "fund"
    publish_receipts(home, DAY, ["fund"], {})
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    publish_receipts(home, DAY, ["fund"], load_receipts(home, DAY, ["fund"]))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first

    refused = {
        "source": "fund",
        "file": f"outcomes/fund/{DAY}/test.csv",
        "line": 3,
        "column": "event",
        "rule": "allowed",
        "severity": "critical",
        "rows": 1,
        "message": "event must be one of the allowed values",
        "received": '{"phone": "+8613912345678"}',
    }
    with publishing(home.day_folder(home.quarantine / "outcomes", DAY), {}) as quarantine:
        table = pa.Table.from_pylist([refused], QUARANTINE)
        write_parquet(table, quarantine / "quarantine.parquet")
    publish_receipts(home, DAY, ["fund"], load_receipts(home, DAY, ["fund"]))
    assert (folder / "outcome_receipt.csv").read_bytes() == first["outcome_receipt.csv"]
    file = f"{DAY}/test.csv"
    assert read_receipt(home, "fund") == [
        {"file": file, "line": line, "status": status, "reason": reason, "schema_version": "2"}
        for line, status, reason in (("2", "accepted", ""), ("3", "ignored", "allowed: event"))
    ]
    assert "139" not in (folder / "outcome_receipt.v2.csv").read_text("utf-8")


def test_a_product_that_no_catalogue_has_is_unknown_also_in_history(few: Settings):
    unlinked = read(few, UNLINKED)
    assert sorted((row["institution_id"], row["unlinked_reason"]) for row in unlinked) == [
        ("bank", "other_product"),
        ("bank", "unknown_product"),
        ("nobody", "unknown_product"),
    ]


def patch_sudden_change(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Replace values of the policy on sudden changes."""
    stated = policy.outcomes().sudden_change
    changed = stated.model_validate(stated.model_dump(by_alias=True) | changes)
    outcomes = policy.outcomes().model_copy(update={"sudden_change": changed})
    monkeypatch.setattr(policy, "outcomes", lambda: outcomes)


def write_first_reports(home: Settings, approvals: dict[str, int], *, trained: bool) -> None:
    """Write 40 decisions of each lender, its first; each approval was predicted at 0.15."""
    before = FIRST - timedelta(days=28)
    known = [lead(number) | {"lead_id": f"old-{number}"} for number in range(30)]
    institutions = [{"institution_id": name} for name in approvals]
    products = [row | {"product_id": "loan"} for row in institutions]
    write_day(home, before, leads=known, products=[*products, FUND], institutions=institutions)
    report = {"recorded_at": at(f"{before + timedelta(days=1)} 09:00"), "event": "declined"}
    history = [FUND | row | report for row in known] if trained else []
    write_day(home, before + timedelta(days=1), outcomes=history)
    leads = [lead(number) for number in range(40)]
    pairs = [(product, row) for product in products for row in leads]
    matches = [
        product | row | {"match_id": f"{product['institution_id']}-{row['lead_id']}"}
        for product, row in pairs
    ]
    write_day(home, FIRST, leads=leads)
    write_matches(home, FIRST, [match | {"p_approve": 0.15} for match in matches])
    # the first 15 are too few to judge, with the others they aren't
    for day, part in ((DAY - timedelta(days=1), slice(15)), (DAY, slice(15, None))):
        recorded = {"recorded_at": at(f"{day} 09:00"), "history_kind": None}
        outcomes = [
            product | row | recorded | {"event": event}
            for product, approved in zip(products, approvals.values(), strict=True)
            for row, event in list(
                zip(leads, ["approved"] * approved + ["declined"] * (40 - approved), strict=True)
            )[part]
        ]
        write_day(home, day, outcomes=outcomes)


@pytest.mark.parametrize("is_confirmed", keep((0,), [False, True]))
def test_the_first_decisions_of_a_lender_are_compared_with_the_predictions(
    home: Settings, monkeypatch: pytest.MonkeyPatch, is_confirmed: bool
):
    """One lies from the first report on; of two the rates are as predicted, and beyond chance."""
    patch_sudden_change(monkeypatch, trained_decisions=30)
    approvals = {"bank": 38, "as-predicted": 6, "not-by-the-factor": 16}
    write_first_reports(home, approvals, trained=True)
    build_all(home, DAY)
    held = [(row["institution_id"], row["unlinked_reason"]) for row in read(home, UNLINKED)]
    assert held == [("bank", "unconfirmed_change")] * 25
    (finding,) = read_manifest(home.day_folder(home.marts, DAY))["findings"]
    assert (finding["id"], finding["sources"]) == ("outcomes_sudden_change", ["bank"])
    assert "95.0% of 40 decisions" in finding["detail"]
    assert "15.0% were predicted" in finding["detail"]
    if not is_confirmed:
        return
    confirmed = {"institution_id": "bank", "from": DAY, "to": DAY, "source": "a letter"}
    confirmed |= {"confirmed_on": DAY + timedelta(days=1)}
    patch_sudden_change(monkeypatch, confirmed=[confirmed])
    build_all(home, DAY)
    assert not read(home, UNLINKED)


def test_decisions_are_not_compared_with_a_stated_prior(
    home: Settings, monkeypatch: pytest.MonkeyPatch
):
    patch_sudden_change(monkeypatch, trained_decisions=30)
    write_first_reports(home, {"bank": 38}, trained=False)
    build_all(home, DAY)
    assert not read(home, UNLINKED)
    assert read_manifest(home.day_folder(home.marts, DAY))["findings"] == []
