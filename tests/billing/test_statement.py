"""Returns by policy, and statements that equal an independent recomputation, to the cent."""

import csv
import random
import shutil
from collections import defaultdict
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from expectations import policy
from expectations.delivery_policy_types import DisputeDecision
from pipelines.billing.follow_up import follow_up
from pipelines.billing.statement import Month, load_statement, month_folder, sign_statements
from pipelines.core.errors import InputMissing, IntegrityError
from pipelines.core.publishing import MANIFEST, SIGNATURE, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries.signatures import load_signing_key, make_signature
from tests.helpers.delivered_home import (
    PRODUCTS,
    match,
    outcome,
    receipt,
    write_delivered_day,
    write_marts_of,
    write_quiet_day,
)
from tests.helpers.lake import Row, at

FIRST = date(2026, 3, 26)
MARCH, APRIL = Month(date(2026, 3, 1)), Month(date(2026, 4, 1))
OWNER = {product["product_id"]: product["institution_id"] for product in PRODUCTS}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def decisions(settings: Settings, day: date) -> dict[str, tuple[str, str | None]]:
    file = settings.day_folder(settings.settlement, day) / "return_decisions.parquet"
    return {
        row["match_id"]: (row["decision"], row["why"])
        for row in pq.read_table(file, partitioning=None).to_pylist()
    }


def day_after(days: int) -> date:
    return FIRST + timedelta(days=days)


@pytest.fixture(scope="module")
def followed_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one delivered day of forty leads at a price of a lead."""
    settings = Settings(home=tmp_path_factory.mktemp("statement") / "home", threads=1)
    write_delivered_day(settings, FIRST, [match(n, "bank-a", "lead") for n in range(40)])
    follow_up(settings, FIRST)
    return settings.home


@pytest.fixture
def settings(followed_up: Path, tmp_path: Path) -> Settings:
    """A copy of that home, which a test may change."""
    return Settings(
        home=Path(shutil.copytree(followed_up, tmp_path, dirs_exist_ok=True)), threads=1
    )


def send_back(
    settings: Settings,
    numbers: range,
    days: int = 1,
    *,
    before: list[Row] | None = None,
    **changes: Any,
) -> list[Row]:
    """Follow up a day on which leads are returned; return all outcomes so far."""
    day = day_after(days)
    reported = [
        outcome(match(n, "bank-a", "lead"), "returned", f"{day} 10:00", **changes) for n in numbers
    ]
    outcomes = [*(before or []), *reported]
    write_quiet_day(settings, day, outcomes)
    follow_up(settings, day)
    return outcomes


def test_a_return_within_window_and_cap_is_accepted_and_credited_once(settings):
    outcomes = send_back(settings, range(2), reason="Wrong number")
    assert decisions(settings, day_after(1)) == {
        f"m{n}-bank-a-lead": ("accepted", None) for n in range(2)
    }
    folder = settings.day_folder(settings.outbox, day_after(1)) / "bank-a"
    sent = rows_of(folder / "return_decision.csv")
    assert [row["decision"] for row in sent] == ["accepted", "accepted"]
    assert {row["delivery_id"] for row in sent} == {"20260326-bank-a"}
    send_back(settings, range(2), 2, before=outcomes, reason="wrong_number")
    assert {why for _, why in decisions(settings, day_after(2)).values()} == {"already_returned"}


@pytest.mark.parametrize(
    ("days", "reason", "why"),
    [
        (8, "wrong_number", "too_late"),
        (1, "they did not like it", "unknown_reason"),
        (1, None, "unknown_reason"),
    ],
)
def test_a_return_that_breaks_the_policy_is_refused(settings, days, reason, why):
    send_back(settings, range(1), days, reason=reason)
    assert decisions(settings, day_after(days)) == {"m0-bank-a-lead": ("refused", why)}


def test_a_lead_that_was_approved_is_not_returned(settings):
    approved = outcome(match(0, "bank-a", "lead"), "approved", f"{day_after(1)} 09:00")
    send_back(settings, range(1), before=[approved], reason="false_data")
    assert decisions(settings, day_after(1))["m0-bank-a-lead"] == ("refused", "approved_or_funded")


def test_returns_over_the_cap_are_refused_and_may_come_again(settings):
    outcomes = send_back(settings, range(10), reason="duplicate")
    kinds = list(decisions(settings, day_after(1)).values())
    assert kinds.count(("accepted", None)) == 6  # 15% of forty
    assert kinds.count(("refused", "over_cap")) == 4
    write_delivered_day(settings, day_after(2), [match(n, "bank-a", "lead") for n in range(50, 80)])
    follow_up(settings, day_after(2))
    send_back(settings, range(9, 10), 3, before=outcomes, reason="duplicate")
    assert decisions(settings, day_after(3)) == {"m9-bank-a-lead": ("accepted", None)}


def test_a_dispute_waits_for_people(settings, monkeypatch):
    day = day_after(1)
    disputed = outcome(
        match(0, "bank-a", "lead"), "disputed", f"{day} 10:00", reason="not_as_agreed"
    )
    write_quiet_day(settings, day, [disputed])
    follow_up(settings, day)
    assert decisions(settings, day) == {"m0-bank-a-lead": ("open", None)}
    write_quiet_day(settings, day_after(2), [disputed])
    follow_up(settings, day_after(2))
    assert decisions(settings, day_after(2)) == {}
    manifest = read_manifest(settings.day_folder(settings.settlement, day_after(2)))
    assert [finding["id"] for finding in manifest["findings"]] == ["disputes_open"]
    decided = DisputeDecision(
        institution_id="bank-a", match_id="m0-bank-a-lead", decision="accepted",
        decided_on=day_after(3), source="Sales",
    )  # fmt: skip
    changed = policy.returns().model_copy(update={"disputes": (decided,)})
    monkeypatch.setattr(policy, "returns", lambda: changed)
    write_quiet_day(settings, day_after(3), [disputed])
    follow_up(settings, day_after(3))
    assert decisions(settings, day_after(3)) == {"m0-bank-a-lead": ("accepted", "by_people")}
    write_quiet_day(settings, day_after(4), [disputed])
    follow_up(settings, day_after(4))
    assert decisions(settings, day_after(4)) == {}


def test_a_closed_statement_stays_and_a_later_return_is_a_line_of_the_next_month(settings):
    last = MARCH.last
    write_quiet_day(settings, last)
    assert follow_up(settings, last)["months_closed"] == 1
    folder = month_folder(settings, MARCH) / "bank-a"
    before = {path.name: sha256(path) for path in folder.iterdir()}
    (line,) = rows_of(folder / "statement.csv")
    assert (line["delivered"], line["charges"], line["amount_due"]) == ("40", "802.00", "802.00")
    outcomes = send_back(settings, range(1), 7, reason="wrong_number")
    write_marts_of(settings, last, outcomes)
    follow_up(settings, last)
    write_quiet_day(settings, APRIL.last, outcomes)
    follow_up(settings, APRIL.last)
    assert {path.name: sha256(path) for path in folder.iterdir()} == before
    april = month_folder(settings, APRIL) / "bank-a"
    (line,) = rows_of(april / "statement.csv")
    assert (line["returned"], line["credits"], line["amount_due"]) == ("1", "-20.05", "-20.05")
    (row,) = rows_of(april / "statement_matches.csv")
    assert (row["match_id"], row["kind"], row["reason"]) == ("m0-bank-a-lead", "credit", "returned")
    assert "-20.05 CNY" in (april / "index.html").read_text("utf-8")


def test_an_approval_that_is_corrected_after_the_month_is_an_adjustment(tmp_path):
    settings = Settings(home=tmp_path, threads=1)
    one = match(1, "bank-a", "yes")
    write_delivered_day(settings, FIRST, [one])
    follow_up(settings, FIRST)
    approved = outcome(one, "approved", f"{day_after(1)} 10:00")
    write_quiet_day(settings, MARCH.last, [approved])
    follow_up(settings, MARCH.last)
    (line,) = rows_of(month_folder(settings, MARCH) / "bank-a" / "statement.csv")
    assert (line["approved"], line["amount_due"]) == ("1", "90.00")
    declined = outcome(one, "declined", "2026-04-02 10:00")
    write_quiet_day(settings, APRIL.last, [approved, declined])
    follow_up(settings, APRIL.last)
    (line,) = rows_of(month_folder(settings, APRIL) / "bank-a" / "statement.csv")
    assert (line["charges"], line["adjustments"], line["amount_due"]) == (
        "0.00",
        "-90.00",
        "-90.00",
    )


def test_a_funded_loan_without_an_amount_is_charged_once_its_amount_is_reported(tmp_path):
    settings = Settings(home=tmp_path, threads=1)
    one = match(1, "bank-b", "share")
    write_delivered_day(settings, FIRST, [one])
    follow_up(settings, FIRST)
    unread = outcome(one, "funded", f"{day_after(1)} 10:00", amount=None)
    write_quiet_day(settings, MARCH.last, [unread])
    follow_up(settings, MARCH.last)
    (line,) = rows_of(month_folder(settings, MARCH) / "bank-b" / "statement.csv")
    assert (line["funded"], line["amount_due"]) == ("1", "0.00")
    again = outcome(one, "funded", "2026-04-02 10:00", amount=12_000.0)
    write_quiet_day(settings, APRIL.last, [unread, again])
    follow_up(settings, APRIL.last)
    (line,) = rows_of(month_folder(settings, APRIL) / "bank-b" / "statement.csv")
    price = Decimal(line["price"])
    assert price > 0
    assert Decimal(line["charges"]) == Decimal(line["amount_due"]) == price * 12_000


def take_in(
    settings: Settings, days: int, outcomes: list[Row], *status: str
) -> list[dict[str, str]]:
    """Follow up a day with receipts of the delivery of bank-b; return the answers."""
    day = day_after(days)
    sent = [
        receipt(settings, FIRST, "bank-b", status=each, at=at(f"{day} {8 + hour:02}:00"))
        for hour, each in enumerate(status)
    ]
    write_quiet_day(settings, day, outcomes, receipts=sent)
    follow_up(settings, day)
    path = settings.day_folder(settings.outbox, day) / "bank-b" / "receipt_answer.csv"
    return rows_of(path) if sent else []


def close_march(settings: Settings, outcomes: list[Row]) -> dict[str, str]:
    write_quiet_day(settings, MARCH.last, outcomes)
    follow_up(settings, MARCH.last)
    (line,) = rows_of(month_folder(settings, MARCH) / "bank-b" / "statement.csv")
    return line


@pytest.fixture
def funded(tmp_path: Path) -> tuple[Settings, Row, Row]:
    """A home with a delivery of two leads, the second of them, and the funding of the first."""
    settings = Settings(home=tmp_path, threads=1)
    one, other = match(1, "bank-b", "share"), match(2, "bank-b", "share")
    write_delivered_day(settings, FIRST, [one, other])
    follow_up(settings, FIRST)
    return settings, other, outcome(one, "funded", f"{day_after(2)} 10:00", amount=20_000.0)


def test_a_refusal_after_a_funding_credits_nothing(funded):
    settings, _, loan = funded
    (answer,) = take_in(settings, 2, [loan], "nak")
    assert (answer["status"], answer["reason"]) == ("ignored", "approved_or_funded")
    line = close_march(settings, [loan])
    assert (line["charges"], line["credits"], line["amount_due"]) == ("430.00", "0.00", "430.00")
    manifest = read_manifest(settings.day_folder(settings.settlement, day_after(2)))
    assert [finding["id"] for finding in manifest["findings"]] == ["refusals_too_late"]


def test_a_refusal_after_an_acknowledgement_of_an_earlier_day_is_too_late(funded):
    settings, _, loan = funded
    take_in(settings, 1, [], "ack")
    (answer,) = take_in(settings, 2, [], "nak")
    assert (answer["status"], answer["reason"]) == ("ignored", "after_ack")
    assert close_march(settings, [loan])["amount_due"] == "430.00"


def test_a_refusal_after_an_acknowledgement_of_the_same_day_counts(funded):
    settings, _, _ = funded
    answers = take_in(settings, 1, [], "ack", "nak")
    assert {(row["status"], row["reason"]) for row in answers} == {
        ("ignored", "repeated"),
        ("accepted", ""),
    }
    (answer,) = take_in(settings, 2, [], "ack")
    assert answer["status"] == "accepted"


def test_a_refusal_that_does_not_count_leaves_the_acknowledgement_of_its_day(funded):
    settings, _, loan = funded
    answers = take_in(settings, 2, [loan], "ack", "nak")
    assert {(row["status"], row["reason"]) for row in answers} == {
        ("accepted", ""),
        ("ignored", "approved_or_funded"),
    }


def test_a_funding_after_a_refusal_is_charged_and_no_other_lead_of_the_file(funded):
    settings, other, loan = funded
    (answer,) = take_in(settings, 1, [], "nak")
    assert answer["status"] == "accepted"
    line = close_march(settings, [])
    assert (line["charges"], line["credits"], line["amount_due"]) == ("0.00", "0.00", "0.00")
    more = outcome(other, "declined", "2026-04-02 10:00")
    write_quiet_day(settings, APRIL.last, [loan, more])
    follow_up(settings, APRIL.last)
    (line,) = rows_of(month_folder(settings, APRIL) / "bank-b" / "statement.csv")
    assert (line["charges"], line["credits"], line["amount_due"]) == ("430.00", "0.00", "430.00")


def test_a_credit_of_a_refusal_is_taken_back_once_the_lead_is_approved(settings):
    day = day_after(1)
    sent = receipt(settings, FIRST, "bank-a", status="nak", at=at(f"{day} 08:00"))
    write_quiet_day(settings, day, receipts=[sent])
    follow_up(settings, day)
    write_quiet_day(settings, MARCH.last)
    follow_up(settings, MARCH.last)
    (line,) = rows_of(month_folder(settings, MARCH) / "bank-a" / "statement.csv")
    assert (line["charges"], line["credits"], line["amount_due"]) == ("802.00", "-802.00", "0.00")
    approved = outcome(match(0, "bank-a", "lead"), "approved", "2026-04-02 10:00")
    write_quiet_day(settings, date(2026, 4, 2), [approved])
    follow_up(settings, date(2026, 4, 2))
    feedback = settings.outbox / "channels" / "date=2026-04-02" / "search" / "feedback.csv"
    assert ("earned", "20.05") in {(row["event"], row["amount"]) for row in rows_of(feedback)}
    write_quiet_day(settings, APRIL.last, [approved])
    follow_up(settings, APRIL.last)
    (line,) = rows_of(month_folder(settings, APRIL) / "bank-a" / "statement.csv")
    assert (line["adjustments"], line["amount_due"]) == ("20.05", "20.05")


def test_a_statement_is_signed(settings):
    write_quiet_day(settings, MARCH.last)
    follow_up(settings, MARCH.last)
    manifest = month_folder(settings, MARCH) / "bank-a" / MANIFEST
    signature = manifest.with_name(SIGNATURE)
    key = load_signing_key(settings, MARCH.last)
    assert signature.read_text("ascii") == make_signature(manifest.read_bytes(), key)
    assert "statement.csv" in read_manifest(manifest.parent)["files"]
    manifest.write_text(manifest.read_text("utf-8") + " ", "utf-8")
    sign_statements(settings)
    assert signature.read_text("ascii") == make_signature(manifest.read_bytes(), key)


def test_a_changed_statement_stops_the_next_one(settings):
    write_quiet_day(settings, MARCH.last)
    follow_up(settings, MARCH.last)
    file = month_folder(settings, MARCH) / "bank-a" / "statement_matches.csv"
    file.write_text(file.read_text().replace("20.05", "10.05"))
    write_quiet_day(settings, APRIL.last)
    with pytest.raises(IntegrityError, match="statement_matches"):
        follow_up(settings, APRIL.last)


def test_a_month_that_is_not_over_has_a_preview(settings):
    shown = load_statement(settings, MARCH, None)
    assert shown["state"] == f"preview as of {FIRST}"
    assert shown["amount_due"] == {"bank-a": {"CNY": "802.00"}}
    with pytest.raises(InputMissing, match="bank-z has no statement"):
        load_statement(settings, MARCH, "bank-z")
    with pytest.raises(InputMissing, match="No date of 2027-01"):
        load_statement(settings, Month(date(2027, 1, 1)), None)


def test_a_channel_hears_of_its_own_leads_and_of_no_institution(settings):
    send_back(settings, range(1), reason="wrong_number")
    folder = settings.outbox / "channels" / f"date={day_after(1)}" / "search"
    rows = [
        (r["lead_id"], r["event"], r["detail"], r["amount"])
        for r in rows_of(folder / "feedback.csv")
    ]
    assert rows == [("L0", "earned", "", "-20.05"), ("L0", "returned", "wrong_number", "")]
    first = settings.outbox / "channels" / f"date={FIRST}" / "search" / "feedback.csv"
    assert len(rows_of(first)) == 80  # matched and earned
    assert "bank-a" not in first.read_text() + (folder / "feedback.csv").read_text()


def draw_matches(numbers: random.Random, day: date) -> list[Row]:
    """Return the matches of some thirty leads on every third date until the tenth of April."""
    if day > date(2026, 4, 10) or day.day % 3 != 1:
        return []
    return [
        match(number, OWNER[product], product)
        for number in range(
            day.toordinal() * 100, day.toordinal() * 100 + numbers.randrange(20, 30)
        )
        for product in numbers.sample(list(OWNER), numbers.randrange(1, 3))
    ]


def draw_outcomes(numbers: random.Random, row: Row, day: date) -> list[tuple[date, Row]]:
    """Return what an institution reports of a match, each with its date."""
    first = day + timedelta(days=numbers.randrange(1, 35))
    kind, later = numbers.random(), first + timedelta(days=numbers.randrange(4))
    if kind >= 0.5:
        return []
    if kind >= 0.3:
        reason = numbers.choice(["wrong_number", "duplicate", "false_data", "?"])
        return [(first, outcome(row, "returned", f"{first} 10:00", reason=reason))]
    amount = {"amount": numbers.randrange(100_000, 9_000_000) / 100}
    reported = [(first, outcome(row, "approved", f"{first} 10:00", **amount))]
    if kind < 0.2:
        return [*reported, (later, outcome(row, "funded", f"{later} 11:00", **amount))]
    later = first + timedelta(days=20)
    return [*reported, (later, outcome(row, "declined", f"{later} 12:00"))]


def draw_receipts(numbers: random.Random, settings: Settings, day: date) -> list[Row]:
    """Return receipts that come on `day`, of lead files of the days before it."""
    return [
        receipt(settings, sent_on, name, at=at(f"{day} 08:00"), status=status)
        for sent_on in (day - timedelta(days=back) for back in range(1, 20))
        for name in ("bank-a", "bank-b")
        if (settings.day_folder(settings.outbox, sent_on) / name / "leads.csv").is_file()
        for status in ("ack", "nak")
        if numbers.random() < 0.02
    ]


def list_refused(settings: Settings) -> set[str]:
    """Return the deliveries whose last receipt that counts is a refusal, by what went out."""
    state: dict[str, str] = {}
    for folder in sorted(settings.lake.glob("receipts/date=*")):
        sent = pq.read_table(folder / "receipts.parquet", partitioning=None).to_pylist()
        for row in sorted(sent, key=lambda each: each["status"]):
            path = settings.outbox / folder.name / row["institution_id"] / "receipt_answer.csv"
            is_accepted = {"status": "accepted", "reason": ""}.items()
            answers = [each for each in rows_of(path) if is_accepted <= each.items()]
            own = [each for each in sent if each["delivery_id"] == row["delivery_id"]]
            if row["delivery_id"] not in {each["delivery_id"] for each in answers}:
                continue
            refusals = find_ignored_refusals(rows_of(path))
            if row["status"] == "ack" or row["delivery_id"] not in refusals:
                state[row["delivery_id"]] = row["status"]
            assert len(own) <= 2
    return {name for name, status in state.items() if status == "nak"}


def find_ignored_refusals(answers: list[dict[str, str]]) -> set[str]:
    reasons = {"after_ack", "approved_or_funded"}
    return {row["delivery_id"] for row in answers if row["reason"] in reasons}


def play_months(settings: Settings) -> list[Row]:
    """Follow up two months of random deliveries and outcomes; return the outcomes."""
    numbers = random.Random(5)
    pending: dict[date, list[Row]] = defaultdict(list)
    known: list[Row] = []
    day = MARCH.first
    while day <= APRIL.last:
        matches = draw_matches(numbers, day)
        for row in matches:
            for reported_on, reported in draw_outcomes(numbers, row, day):
                pending[reported_on].append(reported)
        news = pending.pop(day, [])
        known += news
        receipts = draw_receipts(numbers, settings, day)
        if matches:
            write_delivered_day(settings, day, matches, receipts=receipts)
            write_marts_of(settings, day, known)
        elif news or receipts or day in {MARCH.last, APRIL.last}:
            write_quiet_day(settings, day, known, receipts=receipts)
        if matches or news or receipts or day in {MARCH.last, APRIL.last}:
            follow_up(settings, day)
        day += timedelta(days=1)
    return known


def list_returned(settings: Settings) -> set[str]:
    """Return the matches whose return was accepted, by the files that went out."""
    files = settings.outbox.glob("date=*/*/return_decision.csv")
    rows = [row for path in files for row in rows_of(path)]
    names = [row["match_id"] for row in rows if row["decision"] == "accepted"]
    assert len(names) == len(set(names))
    return set(names)


def find_results(outcomes: list[Row]) -> tuple[set[str], dict[str, Decimal]]:
    """Return the matches that are approved by the newest decision, and the funded amounts."""
    latest: dict[str, str] = {}
    funded: dict[str, Decimal] = {}
    for row in sorted(outcomes, key=lambda each: each["recorded_at"]):
        key = f"{row['lead_id'].replace('L', 'm')}-{row['institution_id']}-{row['product_id']}"
        if row["event"] in {"approved", "declined", "funded"}:
            latest[key] = row["event"]
        if row["event"] == "funded":
            funded.setdefault(key, Decimal(str(row["amount"])))
    return {name for name, event in latest.items() if event != "declined"}, funded


def list_successes(outcomes: list[Row]) -> set[str]:
    """Return the matches that were ever reported as approved or funded."""
    return {
        f"{row['lead_id'].replace('L', 'm')}-{row['institution_id']}-{row['product_id']}"
        for row in outcomes
        if row["event"] in {"approved", "funded"}
    }


def recompute(settings: Settings, outcomes: list[Row]) -> dict[str, Decimal]:
    """Return institution -> amount due by the bytes of lead files, decisions and outcomes.

    It shares no code with the statement: plain Python over the delivered CSV files.
    """
    prices = {p["product_id"]: (p["price_model"], Decimal(str(p["price"]))) for p in PRODUCTS}
    returned = list_returned(settings)
    approved, funded = find_results(outcomes)
    refused, used = list_refused(settings), list_successes(outcomes)
    due: dict[str, Decimal] = defaultdict(Decimal)
    for path in settings.outbox.glob("date=*/*/leads.csv"):
        for row in rows_of(path):
            name = row["match_id"]
            model, price = prices[name.rsplit("-", 1)[1]]
            share = {"cpl": Decimal(1), "cpa": Decimal(name in approved)}
            amount = price * share.get(model, funded.get(name, Decimal(0)))
            delivery = f"{path.parts[-3].removeprefix('date=').replace('-', '')}-{path.parts[-2]}"
            if name not in returned and (delivery not in refused or name in used):
                due[path.parent.name] += amount.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return due


@pytest.mark.prove
def test_statements_equal_an_independent_recomputation_to_the_cent(tmp_path):
    settings = Settings(home=tmp_path, threads=1)
    outcomes = play_months(settings)
    due: dict[str, Decimal] = defaultdict(Decimal)
    credited: dict[str, int] = defaultdict(int)
    for month in (MARCH, APRIL):
        for path in sorted(month_folder(settings, month).glob("*/statement.csv")):
            lines = rows_of(path)
            matches = rows_of(path.with_name("statement_matches.csv"))
            for line in lines:
                own = [Decimal(m["amount"]) for m in matches if m["line"] == line["line"]]
                assert sum(own, Decimal(0)) == Decimal(line["amount_due"])
                due[path.parent.name] += Decimal(line["amount_due"])
            for row in matches:
                credited[row["match_id"]] += row["kind"] == "credit"
    assert due == recompute(settings, outcomes)
    accepted = {
        name
        for path in settings.settlement.glob("date=*/return_decisions.parquet")
        for name in pq.read_table(path, partitioning=None)
        .filter(pc.field("decision") == "accepted")["match_id"]
        .to_pylist()
    }
    assert set(credited.values()) == {0, 1}
    paid_by_lead = {name for name in accepted if name.endswith("-lead")}
    assert {name for name, times in credited.items() if times} == paid_by_lead
    assert len(paid_by_lead) > 5
