"""The commands of README's "Your own data" work as typed, on the files that it names."""

import json
import re
import shlex
import subprocess
from datetime import date
from pathlib import Path

import pytest

from dags.steps import run_whole_step
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.commands import Completed, run_command

DAY = date(2026, 3, 2)
SECTION = (PROJECT / "README.md").read_text("utf-8").partition("## Your own data")[2]
COMMANDS = re.findall(
    r"^    ((?:mkdir|cp|banyan) .+)$", SECTION.partition("\n## ")[0], re.MULTILINE
)


def run(command: str, folder: Path) -> Completed:
    """Run a command of the page from the project, with its `var/` in `folder`."""
    words = [word.replace("var/", f"{folder}/") for word in shlex.split(command)]
    if words[0] == "banyan":
        return run_command(*words[1:])
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_files_are_taken_in_whole_and_the_draft_works_as_typed(tmp_path):
    make_folder, copy, first_day = COMMANDS[:3]
    for command in (make_folder, copy):
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    assert first_day == f"banyan run --home var/first --date {DAY}"
    settings = Settings(home=tmp_path / "first")
    run_whole_step("ingest", settings, DAY)
    for feed, rows in (("leads", 3), ("institutions", 1), ("products", 1)):
        lake = read_manifest(settings.day_folder(settings.lake / feed, DAY))
        assert lake["rows"] == rows
    onboard = next(command for command in COMMANDS if command.startswith("banyan onboard"))
    drafted = run(onboard, tmp_path)
    assert drafted.returncode == 0, drafted.stderr
    assert "# QUESTION:" in (tmp_path / "sba.yml").read_text("utf-8")


@pytest.mark.prove  # the other tests have the files, and `tests/e2e` the commands of a day
def test_the_first_day_works_as_typed(tmp_path):
    first_day = COMMANDS[:3]
    assert [command.split()[0] for command in first_day] == ["mkdir", "cp", "banyan"]
    for command in first_day:
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "first/matches/date=2026-03-02/manifest.json").read_text())
    assert (manifest["received"], manifest["matched"]) == (3, 3)
    assert len(list((tmp_path / "first").glob("outbox/*/first-bank/leads*.csv"))) == 1


def test_a_named_file_is_there():
    named = re.findall(r"^    (landing/.+)$", SECTION, re.MULTILINE)
    assert len(named) == 3
    assert all((PROJECT / "docs/first-files" / name).is_file() for name in named)
