"""The ledger: each match is in one state, any receipt may come, and steps may run again."""

import csv
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.billing.follow_up import follow_up
from pipelines.core.home.schema_version import REPLAY
from pipelines.core.publishing import read_manifest, write_json
from pipelines.core.settings import Settings
from pipelines.deliveries.ledger.events import ledger_folder, load_events, load_states
from pipelines.ingest.ingest_day import ingest
from tests.helpers.delivered_home import (
    FIRST,
    deliver_file,
    match,
    receipt,
    write_delivered_day,
    write_matches_of,
    write_quiet_day,
)
from tests.helpers.lake import Row, at
from tests.helpers.representatives import keep

NEXT = FIRST + timedelta(days=1)
REASONS = {
    "receipts_wrong_content": {"wrong_hash", "wrong_rows"},
    "receipts_unknown": {"unknown_delivery", "before_delivery"},
    "receipts_foreign": {"unknown_delivery"},
}
"""Rule of the finding -> what the institution is answered."""
MATCHES = [match(n, "bank-a", "lead") for n in range(3)] + [match(3, "bank-b", "share")]


@pytest.fixture(scope="module")
def followed_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one delivered day, followed up. Tests change copies of it."""
    settings = Settings(home=tmp_path_factory.mktemp("ledger") / "home", threads=1)
    write_delivered_day(settings, FIRST, MATCHES)
    follow_up(settings, FIRST)
    return settings.home


@pytest.fixture
def settings(followed_up: Path, tmp_path: Path) -> Settings:
    return Settings(
        home=Path(shutil.copytree(followed_up, tmp_path, dirs_exist_ok=True)), threads=1
    )


def states(settings: Settings, day: date = FIRST) -> dict[str, str]:
    rows = load_states(settings, day).to_pylist()
    assert len({row["match_id"] for row in rows}) == len(rows)
    return {row["match_id"]: row["state"] for row in rows}


def state_of(settings: Settings, institution: str) -> set[str]:
    return {state for name, state in states(settings).items() if f"-{institution}-" in name}


def answer(settings: Settings, rows: list[Row], day: date = NEXT) -> dict[str, Any]:
    """Follow `day` up, on which `rows` came in; return the manifest."""
    write_quiet_day(settings, day, receipts=rows)
    follow_up(settings, day)
    return read_manifest(settings.day_folder(settings.settlement, day))


def answers_to(settings: Settings, institution: str, day: date = NEXT) -> list[dict[str, str]]:
    path = settings.day_folder(settings.outbox, day) / institution / "receipt_answer.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def findings(manifest: dict[str, Any]) -> dict[str, int]:
    return {finding["id"]: finding["count"] for finding in manifest["findings"]}


def test_a_delivered_match_is_sent(settings):
    assert set(states(settings).values()) == {"sent"}
    events = load_events(settings, FIRST).to_pylist()
    assert {row["event"] for row in events} == {"planned", "sent"}
    assert {row["delivery_id"] for row in events} == {"20260302-bank-a", "20260302-bank-b"}


def test_settling_again_appends_nothing(settings):
    before = sorted(path.name for path in ledger_folder(settings, FIRST).iterdir())
    assert follow_up(settings, FIRST)["ledger_events"] == 0
    assert sorted(path.name for path in ledger_folder(settings, FIRST).iterdir()) == before


def test_an_acknowledged_delivery_is_received(settings):
    manifest = answer(settings, [receipt(settings, FIRST, "bank-a")])
    assert state_of(settings, "bank-a") == {"received"}
    assert state_of(settings, "bank-b") == {"sent"}
    assert findings(manifest) == {}
    assert manifest["delivery_counts"]["open"] == 1


def test_a_refused_delivery_is_refused_until_it_is_acknowledged(settings):
    nak = receipt(settings, FIRST, "bank-a", status="nak", sha256="0" * 64, reason="unreadable")
    assert findings(answer(settings, [nak])) == {"deliveries_refused": 1}
    assert state_of(settings, "bank-a") == {"refused"}
    later = FIRST + timedelta(days=2)
    answer(settings, [receipt(settings, FIRST, "bank-a", at=at(f"{later} 08:00"))], later)
    assert state_of(settings, "bank-a") == {"received"}


@pytest.mark.parametrize(
    ("changes", "rule"),
    keep(
        (0, 1, 2, 6, 9, 10, 13),
        [
            ({"sha256": "0" * 64}, "receipts_wrong_content"),
            ({"rows": 4}, "receipts_wrong_content"),
            ({"version": 2}, "receipts_unknown"),
            ({"delivery_id": "20260301-bank-a"}, "receipts_unknown"),
            ({"delivery_id": "20260303-bank-a"}, "receipts_unknown"),
            ({"delivery_id": "99999999-bank-a"}, "receipts_unknown"),
            ({"delivery_id": "../../etc/passwd"}, "receipts_unknown"),
            ({"delivery_id": "20260302-bank-aa"}, "receipts_unknown"),
            ({"delivery_id": "20260302-../bank-b"}, "receipts_unknown"),
            ({"delivery_id": "notice-20260302-bank-a"}, "receipts_unknown"),
            ({"at": at("2026-03-01 08:00")}, "receipts_unknown"),
            ({"at": at("2026-03-01 08:00"), "sha256": "0" * 64}, "receipts_wrong_content"),
            ({"delivery_id": "20260302-bank-b"}, "receipts_foreign"),
            ({"delivery_id": "20260302-bank-b", "status": "nak"}, "receipts_foreign"),
        ],
    ),
)
def test_a_receipt_that_does_not_fit_changes_no_state(settings, changes, rule):
    manifest = answer(settings, [receipt(settings, FIRST, "bank-a", **changes)])
    assert findings(manifest) == {rule: 1}
    assert set(states(settings).values()) == {"sent"}
    [row] = answers_to(settings, "bank-a")
    assert row["status"] == "ignored"
    assert row["reason"] in REASONS[rule]


def test_each_receipt_is_answered(settings):
    fits = receipt(settings, FIRST, "bank-a")
    earlier = fits | {"status": "nak", "at": at(f"{NEXT} 07:00")}
    test = fits | {"delivery_id": "test-bank-a-1"}
    answer(settings, [fits, earlier, test, receipt(settings, FIRST, "bank-b", rows=9)])
    answered = [(row["status"], row["reason"]) for row in answers_to(settings, "bank-a")]
    assert sorted(answered) == [("accepted", ""), ("ignored", "repeated")]
    [other] = answers_to(settings, "bank-b")
    assert (other["delivery_id"], other["reason"]) == ("20260302-bank-b", "wrong_rows")


def test_a_replay_answers_no_receipt_of_a_day_that_answered_none(settings):
    write_json(settings.ledger / REPLAY, {"has_receipt_answers": False})
    answer(settings, [receipt(settings, FIRST, "bank-a")])
    assert state_of(settings, "bank-a") == {"received"}
    assert not list(settings.outbox.rglob("receipt_answer*"))


def test_a_line_of_receipts_that_cannot_be_read_is_answered(settings):
    folder = settings.landing / "receipts" / "bank-a" / f"{NEXT}"
    folder.mkdir(parents=True)
    header = "delivery_id,version,sha256,rows,status,reason,at"
    good = f"20260302-bank-a,1,{'0' * 64},3,nak,,{NEXT}T08:00:00+08:00"
    (folder / "read.csv").write_text(f"{header}\n{good}\n{good.replace('nak', 'yes')}\n")
    (folder / "semicolons.csv").write_text(f"{header};{good}".replace(",", ";"))
    ingest(settings, NEXT)
    write_quiet_day(settings, NEXT)
    follow_up(settings, NEXT)
    answered = {
        (row["file"].partition("/")[2], row["line"]): (row["status"], row["reason"])
        for row in answers_to(settings, "bank-a")
    }
    assert answered == {
        ("read.csv", "2"): ("accepted", ""),
        ("read.csv", "3"): ("ignored", "allowed: status"),
        ("semicolons.csv", ""): ("ignored", "header"),
    }


def land_receipts(settings: Settings, name: str, rows: list[str]) -> None:
    folder = settings.landing / "receipts" / "bank-a" / f"{NEXT}"
    folder.mkdir(parents=True, exist_ok=True)
    header = "delivery_id,version,sha256,rows,status,reason,at"
    (folder / name).write_text("\n".join([header, *rows, ""]))


def test_each_line_is_answered_with_its_line_in_the_order_of_the_file(settings):
    sent = receipt(settings, FIRST, "bank-a")["sha256"]
    line = "20260302-bank-a,1,{sha},{rows},ack,,2026-03-03T{time}+08:00"
    right = [line.format(sha=sent, rows=3, time=time) for time in ("09:00:00", "09:01:00")]
    wrong_hash = line.format(sha="1" * 64, rows=3, time="09:02:00")
    wrong_rows = line.format(sha=sent, rows=4, time="09:03:00")
    torn = right[0].rpartition(",ack")[0]
    rows = [right[1], right[0], right[0], wrong_hash, wrong_rows, wrong_hash, torn]
    land_receipts(settings, "read.csv", rows)
    ingest(settings, NEXT)
    write_quiet_day(settings, NEXT)
    follow_up(settings, NEXT)
    answered = [(row["line"], row["reason"]) for row in answers_to(settings, "bank-a")]
    assert answered == [
        ("2", ""),
        ("3", "repeated"),
        ("4", "duplicate"),
        ("5", "wrong_hash"),
        ("6", "wrong_rows"),
        ("7", "duplicate"),
        ("8", "fields"),
    ]
    assert state_of(settings, "bank-a") == {"received"}


def test_of_equal_files_of_a_date_the_first_by_name_counts(settings):
    sent = receipt(settings, FIRST, "bank-a")["sha256"]
    row = f"20260302-bank-a,1,{sent},3,ack,,2026-03-03T08:00:00+08:00"
    for name in ("receipts.csv", "receipts-again.csv"):
        land_receipts(settings, name, [row])
    ingest(settings, NEXT)
    write_quiet_day(settings, NEXT)
    follow_up(settings, NEXT)
    answered = [
        (row["file"].partition("/")[2], row["line"], row["status"], row["reason"])
        for row in answers_to(settings, "bank-a")
    ]
    assert answered == [
        ("receipts-again.csv", "2", "accepted", ""),
        ("receipts.csv", "", "ignored", "copy"),
    ]


def test_the_hash_of_the_opened_file_is_a_wrong_hash(settings):
    folder = settings.day_folder(settings.outbox, FIRST) / "bank-a"
    manifest = read_manifest(folder)
    manifest["deliveries"][-1]["content_sha256"] = "2" * 64  # as of a file that was sealed
    write_json(folder / "manifest.json", manifest)
    opened = receipt(settings, FIRST, "bank-a", sha256="2" * 64)
    right = opened | {"sha256": receipt(settings, FIRST, "bank-a")["sha256"]}
    answer(settings, [opened, right | {"at": at(f"{NEXT} 07:00")}])
    reasons = {row["reason"] for row in answers_to(settings, "bank-a")}
    assert reasons == {"", "wrong_hash"}
    assert state_of(settings, "bank-a") == {"received"}


def test_a_partner_speaks_only_for_itself(settings):
    foreign = receipt(settings, FIRST, "bank-b", institution_id="bank-a")
    assert findings(answer(settings, [foreign])) == {"receipts_foreign": 1}
    assert state_of(settings, "bank-b") == {"sent"}
    detail = read_manifest(settings.day_folder(settings.settlement, NEXT))["findings"][0]["detail"]
    assert "bank-b" not in detail


def test_a_capital_hash_is_the_same_hash(settings):
    capital = receipt(settings, FIRST, "bank-a")
    answer(settings, [capital | {"sha256": capital["sha256"].upper()}])
    assert state_of(settings, "bank-a") == {"received"}


def test_of_contradicting_receipts_the_last_one_decides(settings):
    ack = receipt(settings, FIRST, "bank-a")
    nak = ack | {"status": "nak", "at": at(f"{NEXT} 09:00")}
    answer(settings, [nak, ack, ack | {"at": at(f"{NEXT} 07:00")}])
    assert state_of(settings, "bank-a") == {"refused"}


def test_a_delivery_without_receipt_expires_and_a_late_receipt_counts(settings):
    manifest: dict[str, Any] = {}
    for back in (1, 2, 3):
        day = FIRST + timedelta(days=back)
        rows = [receipt(settings, FIRST, "bank-b")] if back == 1 else []
        manifest = answer(settings, rows, day)
    assert state_of(settings, "bank-a") == {"expired"}
    assert state_of(settings, "bank-b") == {"received"}
    assert findings(manifest) == {}  # bank-a never sent a receipt, so none is missing
    late = FIRST + timedelta(days=5)
    answer(settings, [receipt(settings, FIRST, "bank-a", at=at(f"{late} 08:00"))], late)
    assert state_of(settings, "bank-a") == {"received"}


def test_a_missing_receipt_of_an_acknowledging_institution_is_a_finding(settings):
    answer(settings, [receipt(settings, FIRST, "bank-a")])
    write_delivered_day(settings, NEXT, [match(9, "bank-a", "lead")])
    follow_up(settings, NEXT)
    manifest = answer(settings, [], NEXT + timedelta(days=3))
    assert findings(manifest) == {"receipts_missing": 1}


def test_a_correction_retracts_and_keeps_the_identity(settings):
    kept = [row["match_id"] for row in MATCHES[:2]]
    first = receipt(settings, FIRST, "bank-a")
    deliver_file(settings, FIRST, "bank-a", kept)
    follow_up(settings, FIRST)
    found = states(settings)
    assert found[MATCHES[2]["match_id"]] == "retracted"
    assert {found[name] for name in kept} == {"sent"}
    answer(settings, [first])  # the receipt of the version that was replaced
    assert {states(settings)[name] for name in kept} == {"sent"}
    later = NEXT + timedelta(days=1)
    answer(settings, [receipt(settings, FIRST, "bank-a", at=at(f"{later} 08:00"))], later)
    assert {states(settings)[name] for name in kept} == {"received"}
    assert states(settings)[MATCHES[2]["match_id"]] == "retracted"
    ids = {row["delivery_id"] for row in load_events(settings, FIRST).to_pylist()}
    assert ids == {"20260302-bank-a", "20260302-bank-b"}


def test_a_match_that_no_plan_has_any_more_and_comes_back(tmp_path):
    settings = Settings(home=tmp_path, threads=1)
    write_delivered_day(settings, FIRST, MATCHES[:1])
    write_matches_of(settings, FIRST, MATCHES[:2])
    second = MATCHES[1]["match_id"]
    follow_up(settings, FIRST)
    assert states(settings)[second] == "held"
    write_matches_of(settings, FIRST, MATCHES[:1])
    follow_up(settings, FIRST)
    assert states(settings)[second] == "retracted"
    write_matches_of(settings, FIRST, MATCHES[:2])
    follow_up(settings, FIRST)
    assert states(settings)[second] == "held"


def test_transport_decides_what_was_sent(tmp_path):
    settings = Settings(home=tmp_path, threads=1)
    write_delivered_day(settings, FIRST, MATCHES, transport="sftp")
    follow_up(settings, FIRST)
    assert state_of(settings, "bank-a") == {"planned"}
    record = settings.home / "transport" / f"date={FIRST}" / "bank-a.json"
    write_json(record, {"version": 1, "state": "waiting", "attempts": 1})
    follow_up(settings, FIRST)
    assert state_of(settings, "bank-a") == {"planned"}
    write_json(record, {"version": 1, "state": "dead_letter", "attempts": 9})
    follow_up(settings, FIRST)
    assert state_of(settings, "bank-a") == {"held"}
    sent = {"version": 1, "state": "sent", "attempts": 10, "sent_at": "2026-03-03T01:00:00+00:00"}
    write_json(record, sent)
    write_quiet_day(settings, NEXT)
    follow_up(settings, NEXT)  # the next day looks at recent transport again
    assert state_of(settings, "bank-a") == {"sent"}
