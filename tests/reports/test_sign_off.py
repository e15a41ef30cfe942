"""Decisions on days: kept for good, shown at once, and they hold lead files where a policy says."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dags.steps import run_step
from expectations import policy
from expectations.policy_types import SignOffRules
from pipelines.cli.app import main
from pipelines.core.errors import DeliveryOnHold, InputMissing, IntegrityError, UsageError
from pipelines.core.evidence.sign_offs import (
    find_decision,
    find_hold,
    read_sign_offs,
    sign_off_file,
)
from pipelines.core.home.schema_version import write_version
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.deliveries.deliver import plan_shards
from pipelines.operations.status import format_status, load_status
from pipelines.reports.publish_report import report
from pipelines.reports.sign_off import hold_deliveries, record_sign_off
from tests.helpers.html import table_rows
from tests.helpers.published_day import DAY, LEAD_COUNTS, PERSON, publish_matches
from tests.helpers.representatives import keep


def decide(settings: Settings, decision: Any = "fit", **more: Any) -> Any:
    return record_sign_off(settings, DAY, by="Li Lei", decision=decision, via="test", **more)


def use_policy(monkeypatch: pytest.MonkeyPatch, hold: Any) -> None:
    rules = SignOffRules(hold=hold, decided_on=DAY, source="test")
    monkeypatch.setattr(policy, "sign_off", lambda: rules)


@pytest.fixture(scope="module")
def reported_home(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the published day with its report; read only."""
    home = Path(shutil.copytree(published, tmp_path_factory.mktemp("reported") / "home"))
    write_version(Settings(home=home))
    report(Settings(home=home), DAY)
    return home


@pytest.fixture
def reported(reported_home: Path, tmp_path: Path) -> Settings:
    """A copy of it that a test may change."""
    return Settings(home=shutil.copytree(reported_home, tmp_path / "home"))


def read_page(settings: Settings) -> bytes:
    return (settings.day_folder(settings.reports, DAY) / "index.html").read_bytes()


def test_a_decision_is_kept_and_shown_and_changes_no_page(reported: Settings):
    page = read_page(reported)
    decide(reported, "remarks", note="the broker's file\nis late")
    decide(reported, "fit")
    entries = read_sign_offs(reported, DAY)
    assert [entry.decision for entry in entries] == ["remarks", "fit"]
    assert entries[0].note == "the broker's file is late"
    folder = reported.day_folder(reported.reports, DAY)
    assert entries[0].report == read_manifest(folder)["content_sha256"]
    assert read_page(reported) == page
    index = (reported.reports / "index.html").read_text("utf-8")
    (row,) = [row for row in table_rows(index) if row.startswith(f"{DAY}")]
    assert f"fit, Li Lei, {entries[1].at}" in row
    assert "signed off: fit, by Li Lei" in format_status(load_status(reported))
    report(reported, DAY)
    rows = table_rows(read_page(reported).decode())
    assert any(row.startswith("fit with remarks | Li Lei | ") for row in rows)


def test_a_day_without_a_report_is_not_decided(settings: Settings):
    write_version(settings)
    with pytest.raises(InputMissing, match="nobody can have read it"):
        decide(settings)
    assert not sign_off_file(settings, DAY).exists()


@pytest.mark.parametrize(
    ("by", "note"),
    keep(
        (0, 2, 5),
        [
            ("", ""),
            ("x" * 101, ""),
            ("Li Lei", f"lead of {PERSON['phone']}"),
            ("Li Lei", f"lead of {PERSON['id_number']}"),
            ("Li Lei", "y" * 2_001),
            ("Li\x00Lei", ""),
        ],
    ),
)
def test_a_name_and_a_note_hold_no_person(reported: Settings, by: str, note: str):
    with pytest.raises(UsageError, match="Nothing was recorded"):
        record_sign_off(reported, DAY, by=by, decision="fit", note=note, via="test")
    assert read_sign_offs(reported, DAY) == ()


def test_a_torn_line_was_never_acknowledged(reported: Settings):
    decide(reported, "not_fit")
    path = sign_off_file(reported, DAY)
    whole = path.read_bytes()
    for length in (0, 1, 40, len(whole) - 2):
        path.write_bytes(whole + whole[:length])
        assert len(read_sign_offs(reported, DAY)) == 1
        decide(reported, "fit")
        assert path.read_bytes().startswith(whole)
        assert [entry.decision for entry in read_sign_offs(reported, DAY)] == ["not_fit", "fit"]
    path.write_bytes(whole + whole[:-1])  # the crash came before the line's end
    decide(reported, "fit")
    assert [e.decision for e in read_sign_offs(reported, DAY)] == ["not_fit", "not_fit", "fit"]


@pytest.mark.parametrize("line", keep((2, 3), ["[]", "{}", '{"decision": "fit"}', "not json"]))
def test_a_damaged_ledger_takes_no_decision_and_opens_nothing(
    reported: Settings, line: str, monkeypatch
):
    decide(reported)
    path = sign_off_file(reported, DAY)
    damaged = f"{line}\n".encode() + path.read_bytes()
    path.write_bytes(damaged)
    use_policy(monkeypatch, "always")
    with pytest.raises(IntegrityError, match="a line is no decision"):
        decide(reported)
    with pytest.raises(IntegrityError):
        plan_shards(reported, DAY)
    assert path.read_bytes() == damaged
    report(reported, DAY)
    assert "the ledger is damaged" in (reported.reports / "index.html").read_text("utf-8")


def test_by_default_no_day_is_held(reported: Settings):
    page = read_page(reported)
    assert policy.sign_off().hold == "off"
    assert run_step("sign_off", reported, DAY)["state"] == "open"
    assert read_page(reported) == page


def test_a_held_day_is_delivered_after_its_decision(settings: Settings, monkeypatch):
    write_version(settings)
    use_policy(monkeypatch, "always")
    for folder in settings.outbox.glob("date=*/*"):
        (folder / "manifest.json").unlink()  # before the delivery
    waits = run_step("sign_off", settings, DAY)
    assert waits["state"] == "waits"
    assert f"`banyan signoff --date {DAY} --by NAME" in waits["message"]
    with pytest.raises(DeliveryOnHold, match="waits for a decision"):
        run_step("plan_deliver", settings, DAY)
    assert read_step_failures(settings, DAY) == []
    folder = settings.day_folder(settings.reports, DAY)
    findings = [f["id"] for f in json.loads((folder / "quality.json").read_text())["findings"]]
    assert "delivery_on_hold" in findings
    assert "delivery_missing" not in findings
    assert "stages_do_not_add_up" not in findings
    assert read_manifest(folder)["on_hold"]
    decide(settings, "not_fit", note="prices look wrong")
    refused = hold_deliveries(settings, DAY)
    assert refused["state"] == "refused"
    assert "by Li Lei at" in refused["message"]
    assert "prices look wrong" in refused["message"]
    with pytest.raises(DeliveryOnHold, match="decided to be not fit"):
        plan_shards(settings, DAY)
    decide(settings, "fit")
    assert hold_deliveries(settings, DAY)["state"] == "open"
    assert find_hold(settings, DAY) is None
    publish_matches(settings, LEAD_COUNTS | {"received": 252})
    assert find_decision(settings, DAY) is not None  # the same matches, other facts
    matches = settings.day_folder(settings.matches, DAY) / "manifest.json"
    matches.write_text(matches.read_text().replace('content_sha256": "', 'content_sha256": "0'))
    assert find_decision(settings, DAY) is None
    assert find_hold(settings, DAY) is not None


def test_only_a_day_that_is_not_fit_is_held(reported: Settings, monkeypatch):
    use_policy(monkeypatch, "on_not_fit")
    assert hold_deliveries(reported, DAY)["state"] == "open"
    publish_matches(reported, LEAD_COUNTS | {"received": 999})  # they don't add up
    assert hold_deliveries(reported, DAY)["state"] == "waits"
    path = reported.day_folder(reported.reports, DAY) / "manifest.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"verdict": "remarks"}))
    assert find_hold(reported, DAY) is None
    for changed in ({"matches": "of another run"}, {"verdict": "?"}, {"matches": None}):
        path.write_text(json.dumps(stated | {"verdict": "remarks"} | changed))
        assert find_hold(reported, DAY) is not None
    path.unlink()
    assert find_hold(reported, DAY) is not None


def test_the_verb_records_and_refuses(settings: Settings, capsys, tmp_path: Path):
    home = ["--home", str(settings.home)]
    verb = ["signoff", "--date", f"{DAY}", "--by", "Han Meimei", "--decision", "fit", *home]
    write_version(settings)
    assert main(verb) == 1
    assert "has no report" in capsys.readouterr().err
    report(settings, DAY)
    assert main(verb) == 0
    assert f"{DAY}: fit, by Han Meimei" in capsys.readouterr().out
    assert main([*verb, "--json", "--note", "twice"]) == 0
    assert json.loads(capsys.readouterr().out)["note"] == "twice"
    assert len(read_sign_offs(settings, DAY)) == 2
    assert main([*verb[:-4], "--decision", "maybe", *home]) == 2
