"""The schema version of a home: refused, migrated, stated."""

import json
import shutil
from pathlib import Path

import pytest

from dags.steps import run_step
from pipelines.cli.app import main
from pipelines.core.errors import IntegrityError
from pipelines.core.home import schema_version
from pipelines.core.home.schema_version import (
    VERSION,
    WrongSchema,
    home_file,
    read_version,
    require_current,
)
from pipelines.core.settings import Settings
from pipelines.operations import migrate as migration
from pipelines.operations.migrate import Migration, migrate
from tests.e2e.published_bytes import published
from tests.operations.conftest import DAY


@pytest.fixture
def old(home: Settings) -> Settings:
    """A home of version 1: whole marts, and no `home.json`."""
    home_file(home).unlink()
    (home.home / ".dbt" / "built.json").write_text("{}")
    return home


def state_version(settings: Settings, version: object) -> None:
    home_file(settings).write_text(json.dumps({"schema_version": version}))


def test_a_new_home_states_the_version_at_first_use(tmp_path: Path):
    require_current(Settings(home=tmp_path / "missing"))
    assert not (tmp_path / "missing").exists()
    settings = Settings(home=tmp_path)
    require_current(settings)
    stated = json.loads(home_file(settings).read_text())
    assert stated["schema_version"] == VERSION
    assert stated["time_zone"] == settings.time_zone


def test_an_older_home_is_refused_with_what_to_do(old: Settings, capsys):
    assert read_version(old) == 1
    assert main(["ingest", "--date", f"{DAY}", "--home", str(old.home)]) == 1
    assert "banyan migrate" in capsys.readouterr().err
    with pytest.raises(WrongSchema, match="Published days stay"):
        run_step("staging", old, DAY)
    assert not home_file(old).exists()


@pytest.mark.parametrize("verb", [["doctor"], ["migrate"], ["ingest", "--date", f"{DAY}"]])
def test_a_newer_home_is_refused(home: Settings, capsys, verb: list[str]):
    state_version(home, VERSION + 1)
    before = home_file(home).read_bytes()
    assert main([*verb, "--home", str(home.home)]) == 1
    output = capsys.readouterr()
    assert "newer" in output.out + output.err
    assert home_file(home).read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": "2"}',
                                  '{"schema_version": true}', '{"schema_version": 0}'])  # fmt: skip
def test_a_damaged_statement_is_named(home: Settings, text: str):
    home_file(home).write_text(text)
    with pytest.raises(IntegrityError, match=r"home\.json is damaged"):
        read_version(home)


def test_a_dry_run_changes_nothing(old: Settings):
    before = {path: path.stat().st_mtime_ns for path in old.home.rglob("*")}
    facts = migrate(old, is_dry_run=True)
    assert (facts["from"], facts["to"], facts["published_days"]) == (1, VERSION, 1)
    assert facts["steps"]
    assert {path: path.stat().st_mtime_ns for path in old.home.rglob("*")} == before


def test_a_migration_changes_no_published_file_and_may_be_repeated(old: Settings):
    before = published(old.home)
    assert migrate(old)["from"] == 1
    assert read_version(old) == VERSION
    assert not (old.home / ".dbt" / "built.json").exists()
    again = migrate(old)
    assert (again["from"], again["steps"]) == (VERSION, [])
    assert published(old.home) == before
    require_current(old)


def test_a_migration_that_is_killed_is_done_again(old: Settings, monkeypatch):
    """The version is stated last, so a home that was migrated in part is still an older one."""

    def fail(_: Settings) -> None:
        raise OSError("no space")

    steps = migration.MIGRATIONS | {1: Migration("fails", fail)}
    with monkeypatch.context() as patch:
        patch.setattr(migration, "MIGRATIONS", steps)
        with pytest.raises(OSError, match="no space"):
            migrate(old)
    assert read_version(old) == 1
    migrate(old)
    assert read_version(old) == VERSION


def test_a_migration_of_no_home_makes_none(tmp_path: Path):
    settings = Settings(home=tmp_path / "missing")
    assert migrate(settings)["steps"] == []
    assert not settings.home.exists()


def test_every_older_version_has_a_migration():
    assert sorted(migration.MIGRATIONS) == list(range(1, schema_version.VERSION))


def test_the_verb_states_what_was_done(old: Settings, capsys):
    assert main(["migrate", "--dry-run", "--home", str(old.home)]) == 0
    assert "Would be migrated from schema version 1 to 3" in capsys.readouterr().out
    assert main(["migrate", "--home", str(old.home)]) == 0
    assert "1 published days are unchanged" in capsys.readouterr().out
    assert main(["migrate", "--home", str(old.home)]) == 0
    assert "nothing to do" in capsys.readouterr().out
    shutil.rmtree(old.home)
