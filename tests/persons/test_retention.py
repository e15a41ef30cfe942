"""Data goes when its period ends, by kind and jurisdiction, and the proof says what went."""

import os
import shutil
import time
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from expectations import policy
from expectations.delivery_policy_types import Retention
from pipelines.core.home.retention import load_retention
from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings
from pipelines.persons.retention import apply_retention
from pipelines.reports.sections.persons import load_persons, persons_findings
from tests.helpers.delivered_home import FIRST
from tests.helpers.lake import write_feed
from tests.helpers.person_home import LEADS, NEXT, lead, list_values, write_home
from tests.helpers.raw_search import find_values

DAYS = {"received": 10, "decisions": 20, "deliveries": 20, "leads": 30, "logs": 5}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = write_home(tmp_path_factory.mktemp("home"))
    write_feed(settings, "leads", NEXT, [lead(7, currency="USD")])
    return settings


@pytest.fixture
def settings(template: Settings, tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    # a file that no run has read is not found by the lake: it stops the removal with words
    shutil.rmtree(home / "landing" / "outcomes")
    return Settings(home=home, threads=1)


@pytest.fixture(autouse=True)
def short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every period be as in DAYS, and a day longer in the US."""
    rules = policy.retention().model_dump()
    for kind in rules["kinds"]:
        for period in kind["periods"]:
            period["days"] = DAYS[kind["kind"]] + (period["jurisdiction"] == "US")
        if kind["unit"] == "lead" and "US" not in {p["jurisdiction"] for p in kind["periods"]}:
            kind["periods"] += (
                kind["periods"][0] | {"jurisdiction": "US", "days": DAYS[kind["kind"]] + 1},
            )
    made = Retention.model_validate(rules)
    monkeypatch.setattr(policy, "retention", lambda: made)


def after(days: int) -> date:
    return FIRST + timedelta(days=days)


def list_due(settings: Settings, day: date) -> set[tuple[str, str]]:
    return {(row.kind, row.jurisdiction) for row in load_retention(settings, day) if row.due}


def test_a_period_ends_after_its_days_by_jurisdiction(settings: Settings):
    assert list_due(settings, after(10)) == set()
    assert list_due(settings, after(11)) == {("received", "CN")}
    assert list_due(settings, after(12)) == {("received", "CN")}
    assert list_due(settings, after(13)) == {("received", "CN"), ("received", "US")}
    (row,) = [
        r
        for r in load_retention(settings, after(11))
        if (r.kind, r.jurisdiction) == ("leads", "CN")
    ]
    assert (row.oldest, row.goes_on) == (FIRST, after(31))


def test_where_nothing_is_due_nothing_changes(settings: Settings):
    before = {path: sha256(path) for path in settings.home.rglob("*") if path.is_file()}
    assert apply_retention(settings, after(10), by="ann")["removed"] == []
    assert before == {path: sha256(path) for path in settings.home.rglob("*") if path.is_file()}


def test_received_rows_go_first_and_the_lead_last(settings: Settings):
    values = {value for number in LEADS for value in list_values(number)}
    removed = apply_retention(settings, after(11), by="ann")["removed"]
    assert [(each["kind"], each["leads"]) for each in removed] == [("received", len(LEADS))]
    left = find_values(settings.home, values)
    assert [path for path in left if path.startswith("lake/")]
    assert not [path for path in left if path.startswith(("landing/leads", "quarantine/leads"))]
    apply_retention(settings, after(31), by="ann")
    left = find_values(settings.home, values)
    assert left == {}
    rows = pq.read_table(
        settings.day_folder(settings.matches, FIRST) / "matches.parquet", partitioning=None
    )
    assert len(rows) == 2 * len(LEADS)  # bills and quotas still count them
    assert list_due(settings, after(31)) == set()


def test_what_is_due_and_overdue_is_a_finding(settings: Settings):
    def rules(day: date) -> set[str]:
        found = persons_findings(load_persons(settings, day), day)
        return {finding.id for finding in found if "retention" in finding.id}

    assert rules(after(0)) == {"retention_due"}
    grace = policy.retention().grace_days
    assert rules(after(11 + grace)) == {"retention_overdue"}
    apply_retention(settings, after(11 + grace), by="ann")
    assert rules(after(11 + grace)) == {"retention_due"}


def test_old_logs_go_by_the_time_they_were_written(settings: Settings):
    old, new = settings.logs / "old.log", settings.logs / "new.log"
    for path, days in ((old, 6), (new, 4)):
        path.write_text("a line", "utf-8")
        moment = time.time() - days * 86_400
        os.utime(path, (moment, moment))
    (removed,) = apply_retention(settings, after(1), by="ann")["removed"]
    assert (removed["kind"], removed["files"]) == ("logs", 1)
    assert (old.exists(), new.exists()) == (False, True)


def test_nothing_of_a_lead_may_be_kept_longer_than_the_lead():
    rules = policy.retention().model_dump()
    rules["kinds"][0]["periods"][0]["days"] = 9_999
    with pytest.raises(ValidationError, match="received is kept longer than leads"):
        Retention.model_validate(rules)
