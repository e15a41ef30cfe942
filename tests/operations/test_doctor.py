"""Each problem of a home is found, with what to do; a good home has none."""

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.cli.app import main
from pipelines.core.home.schema_version import home_file
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.operations import doctor
from pipelines.operations.doctor import examine
from tests.operations.conftest import DAY, land

NOW = datetime(2026, 3, 6, 4, tzinfo=UTC)
"""The day after the day that was run."""


def problems(home: Settings, now: datetime = NOW) -> dict[str, str]:
    """Return name -> found and action, of the checks that need an action."""
    checks = examine(home, now)
    assert all(check.action for check in checks if check.state == "action")
    return {c.name: f"{c.found} | {c.action}" for c in checks if c.state == "action"}


def test_a_good_home_needs_no_action(home: Settings, capsys):
    assert problems(home) == {}
    assert {check.name for check in examine(home, NOW)} == {
        *("schema", "libraries", "disk", "time zone", "key", "modes", "landing", "dates", "steps"),
        *("evidence", "lock", "airflow"),
    }
    assert main(["doctor", "--home", str(home.home)]) == 0
    assert "All is well." in capsys.readouterr().out


def test_an_empty_folder_needs_no_action(tmp_path: Path):
    assert problems(Settings(home=tmp_path / "new")) == {}
    assert not (tmp_path / "new").exists()


def newer(home: Settings) -> None:
    write_json(home_file(home), {"schema_version": 99})


def other_zone(home: Settings) -> None:
    stated = json.loads(home_file(home).read_text())
    write_json(home_file(home), stated | {"time_zone": "Europe/Berlin"})


def open_key(home: Settings) -> None:
    home.identifier_key_file.chmod(0o644)


def lost_key(home: Settings) -> None:
    home.identifier_key_file.unlink()


def short_key(home: Settings) -> None:
    home.identifier_key_file.write_text("short")


def open_folder(home: Settings) -> None:
    home.marts.chmod(0o755)


def unfinished_file(home: Settings) -> None:
    path = land(home, DAY, "more.csv.part")
    os.utime(path, (0, (NOW - timedelta(days=3)).timestamp()))


def gap(home: Settings) -> None:
    before = home.day_folder(home.reports, DAY - timedelta(days=3))
    write_json(before / "manifest.json", {"files": {}})
    write_json(home.matches / before.name / "manifest.json", {"files": {}})


def leads_not_run(home: Settings) -> None:
    land(home, DAY + timedelta(days=1), "leads.csv")


def failed_step(home: Settings) -> None:
    write_json(home.day_folder(home.step_failures, DAY) / "score" / "x.json", {"message": "no"})


def damaged_database(home: Settings) -> None:
    (home.airflow / "airflow.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)


def cut_log(home: Settings) -> None:
    manifest = home.day_folder(home.reports, DAY) / "manifest.json"
    log = {"size": 7, "root": "ab"}
    write_json(manifest, json.loads(manifest.read_text()) | {"log": log})


def damaged_log(home: Settings) -> None:
    write_json(home.evidence / "log" / f"0000000000.date={DAY}.json", {"first": 1})


@pytest.mark.parametrize(
    ("spoil", "name", "words"),
    [
        (newer, "schema", "run the newer code"),
        (other_zone, "time zone", "set BANYAN_TIME_ZONE=Europe/Berlin"),
        (open_key, "key", "chmod 600"),
        (lost_key, "key", "restore it from a backup"),
        (short_key, "key", "fewer than 32 characters"),
        (open_folder, "modes", "chmod 700"),
        (unfinished_file, "landing", "more.csv.part"),
        (gap, "dates", "run --date 2026-03-03 --to 2026-03-04"),
        (leads_not_run, "dates", "run --date 2026-03-06"),
        (failed_step, "steps", "score of 2026-03-05: no"),
        (damaged_database, "airflow", "move"),
        (cut_log, "evidence", "run `banyan verify`"),
        (damaged_log, "evidence", "is damaged"),
    ],
)
def test_a_problem_is_found_with_what_to_do(
    home: Settings, spoil: Callable[[Settings], None], name: str, words: str, capsys
):
    spoil(home)
    later = NOW + timedelta(days=1)
    assert list(problems(home, later)) == [name]
    assert words in problems(home, later)[name]
    if spoil is not leads_not_run:  # by today's date more is missing
        assert main(["doctor", "--json", "--home", str(home.home)]) == 1
        checks = json.loads(capsys.readouterr().out)["checks"]
        assert [c["name"] for c in checks if c["state"] == "action"] == [name]


def test_a_disk_that_is_nearly_full_is_a_problem(home: Settings, monkeypatch):
    class Usage:
        free = 1_000_000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    assert "days are left" in problems(home)["disk"]


def test_another_version_of_a_library_is_a_problem(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "duckdb" else "9")
    (check,) = doctor._check_libraries()
    assert check.state == "action"
    assert "duckdb 0.1 is not" in check.found


def test_the_holder_of_the_lock_is_named(home: Settings):
    with (home.home / ".run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (lock,) = [check for check in examine(home, NOW) if check.name == "lock"]
    assert lock.state == "note"
    assert f"process {os.getpid()} is at work" in lock.found


def test_a_database_that_works_is_no_problem(home: Settings):
    with sqlite3.connect(home.airflow / "airflow.db") as database:
        database.execute("create table dag (dag_id text)")
    assert problems(home) == {}


def test_a_folder_that_cannot_be_listed_is_a_problem(home: Settings):
    folder = land(home, DAY, "leads.csv").parent
    folder.chmod(0)
    if os.access(folder, os.R_OK):
        pytest.skip("this user may read every folder")
    found = problems(home)
    folder.chmod(0o700)
    assert f"leads/search/{DAY}" in found["landing"]


def test_the_server_that_a_command_states_is_checked(home: Settings, monkeypatch):
    url = "postgresql+psycopg2://airflow:a-secret@127.0.0.1:1/airflow"
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD", f"sh -c 'printf %s {url}'")
    found = problems(home)["airflow"]
    assert "can't be reached" in found
    assert "a-secret" not in found


def test_a_server_out_of_reach_is_named_without_its_password(home: Settings, monkeypatch):
    url = "postgresql+psycopg2://airflow:a-secret@127.0.0.1:1/airflow"
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    found = problems(home)["airflow"]
    assert "can't be reached" in found
    assert "a-secret" not in found
