"""A backup has what cannot be made again; a restore is checked whole or makes no home."""

import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from pipelines.cli.app import main
from pipelines.core.errors import IntegrityError
from pipelines.core.home.erasures import BACKUPS
from pipelines.core.home.lock import HomeLocked, lock_home
from pipelines.core.settings import Settings
from pipelines.operations.backup import (
    COMPUTED,
    CONTENTS,
    DISPOSABLE,
    BackupRefused,
    back_up,
    restore,
)
from tests.operations.conftest import DAY

NAMES = ("backup.tar", "backup.tar.gz", "backup")


def contents(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.name != BACKUPS  # a backup is listed after it was made
    }


def expected(home: Settings, *, is_essential: bool = False) -> dict[str, bytes]:
    left_out = (*DISPOSABLE, *(COMPUTED if is_essential else ()))
    return {
        name: content
        for name, content in contents(home.home).items()
        if name.startswith("quarantine/import/")
        or not any(name == entry or name.startswith(f"{entry}/") for entry in left_out)
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_essential", [False, True])
def test_a_restored_home_has_the_same_files(
    home: Settings, tmp_path: Path, name: str, is_essential: bool
):
    (home.home / "signoffs").mkdir()
    (home.home / "signoffs" / "ledger.jsonl").write_text("a folder that no list knows")
    facts = back_up(home, tmp_path / "disk" / name, is_essential=is_essential)
    other = Settings(home=tmp_path / "other")
    restored = restore(other, tmp_path / "disk" / name)
    assert contents(other.home) == expected(home, is_essential=is_essential)
    assert restored["files"] == facts["files"] == len(contents(other.home)) > 5
    assert restored["bytes"] == facts["bytes"]
    assert restored["dates_to_run"] == ([f"{DAY}"] if is_essential else [])
    assert {"warehouse.duckdb", "logs", "work"} <= set(facts["left_out"])
    assert ("marts" in facts["left_out"]) == is_essential
    key = other.identifier_key_file
    assert key.stat().st_mode & 0o777 == 0o600
    assert not [path for path in tmp_path.rglob(".*") if path.name.endswith((".new", ".restore"))]


def test_an_archive_is_readable_by_its_owner_only(home: Settings, tmp_path: Path):
    back_up(home, tmp_path / "backup.tar.gz")
    assert (tmp_path / "backup.tar.gz").stat().st_mode & 0o077 == 0


def test_a_backup_replaces_nothing_and_is_not_written_into_the_home(home: Settings, tmp_path: Path):
    (tmp_path / "backup.tar").write_text("earlier")
    with pytest.raises(BackupRefused, match="exists"):
        back_up(home, tmp_path / "backup.tar")
    with pytest.raises(BackupRefused, match="lies in the home"):
        back_up(home, home.home / "backup.tar")
    with pytest.raises(BackupRefused, match="is no home"):
        back_up(Settings(home=tmp_path / "missing"), tmp_path / "other.tar")
    assert (tmp_path / "backup.tar").read_text() == "earlier"


def test_a_home_with_files_is_not_restored_over(home: Settings, tmp_path: Path):
    back_up(home, tmp_path / "backup")
    before = contents(home.home)
    with pytest.raises(BackupRefused, match="not empty"):
        restore(home, tmp_path / "backup")
    assert contents(home.home) == before
    (tmp_path / "empty").mkdir()
    restore(Settings(home=tmp_path / "empty"), tmp_path / "backup")
    assert contents(tmp_path / "empty") == expected(home)


def cut(backup: Path) -> None:
    if backup.is_file():
        backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])
    else:
        (backup / CONTENTS).unlink()


def test_an_incomplete_backup_is_refused_and_makes_no_home(home: Settings, tmp_path: Path):
    for name in NAMES:
        back_up(home, tmp_path / name)
        cut(tmp_path / name)
        with pytest.raises(BackupRefused, match="Nothing was restored"):
            restore(Settings(home=tmp_path / "other"), tmp_path / name)
        assert not (tmp_path / "other").exists()
    with pytest.raises(BackupRefused, match="There is no backup"):
        restore(Settings(home=tmp_path / "other"), tmp_path / "nowhere.tar")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_text("changed"), "has other bytes"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.with_name("added.csv").write_text("x"), "is not listed"),
    ],
)
def test_a_changed_backup_is_refused_and_makes_no_home(
    home: Settings, tmp_path: Path, damage, words: str
):
    back_up(home, tmp_path / "backup")
    damage(tmp_path / "backup" / "landing" / "leads" / "search" / f"{DAY}" / "leads.csv")
    with pytest.raises(IntegrityError, match=words):
        restore(Settings(home=tmp_path / "other"), tmp_path / "backup")
    assert not (tmp_path / "other").exists()


def test_an_archive_that_leaves_its_folder_is_refused(home: Settings, tmp_path: Path):
    (tmp_path / CONTENTS).write_text("{}")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / CONTENTS, "../outside")
    with pytest.raises(BackupRefused):
        restore(Settings(home=tmp_path / "deep" / "other"), tmp_path / "evil.tar")
    assert not list(tmp_path.rglob("outside"))


def test_a_backup_of_a_newer_schema_is_refused(home: Settings, tmp_path: Path):
    back_up(home, tmp_path / "backup")
    stated = json.loads((tmp_path / "backup" / CONTENTS).read_text())
    (tmp_path / "backup" / CONTENTS).write_text(json.dumps(stated | {"schema_version": 99}))
    with pytest.raises(BackupRefused, match="newer code"):
        restore(Settings(home=tmp_path / "other"), tmp_path / "backup")


def test_the_database_of_airflow_is_copied_while_it_is_open(home: Settings, tmp_path: Path):
    path = home.airflow / "airflow.db"
    database = sqlite3.connect(path)
    database.execute("pragma journal_mode = wal")
    database.execute("create table dag_run (run_id text)")
    database.execute("insert into dag_run values ('one')")
    database.commit()
    assert path.with_name("airflow.db-wal").stat().st_size > 0
    back_up(home, tmp_path / "backup")
    database.close()
    restore(Settings(home=tmp_path / "other"), tmp_path / "backup")
    copy = sqlite3.connect(tmp_path / "other" / "airflow" / "airflow.db")
    assert copy.execute("select run_id from dag_run").fetchall() == [("one",)]
    assert not (tmp_path / "backup" / "airflow" / "airflow.db-wal").exists()


def test_a_landing_folder_on_another_disk_is_in_the_backup(home: Settings, tmp_path: Path):
    shutil.move(home.landing, tmp_path / "disk")
    home.landing.symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "disk")
    back_up(home, tmp_path / "backup.tar")
    restore(Settings(home=tmp_path / "other"), tmp_path / "backup.tar")
    landed = [name for name in contents(tmp_path / "other") if name.startswith("landing/")]
    assert landed == [f"landing/leads/search/{DAY}/leads.csv"]


def test_the_verbs_back_up_and_restore(home: Settings, tmp_path: Path, capsys):
    target, other = str(tmp_path / "b.tgz"), str(tmp_path / "other")
    with lock_home(home):
        assert main(["backup", target, "--home", str(home.home)]) == 1
        assert "Another run is at work" in capsys.readouterr().err
    assert main(["backup", target, "--essential", "--home", str(home.home)]) == 0
    assert json.loads(capsys.readouterr().out)["files"] > 3
    assert main(["restore", target, "--home", other]) == 0
    assert f"banyan run --date {DAY}`" in capsys.readouterr().err
    assert main(["restore", target, "--home", other]) == 1
    with lock_home(home):
        live = ["backup", str(tmp_path / "live"), "--while-running", "--home", str(home.home)]
        assert main(live) == 0
    with pytest.raises(HomeLocked), lock_home(home), lock_home(home):
        pass
