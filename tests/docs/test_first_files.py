"""The commands of README's "Your own data" work as typed, on the files that it names."""

import json
import re
import shlex
import subprocess
from pathlib import Path

from pipelines.core.settings import PROJECT
from tests.helpers.commands import Completed, run_command

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


def test_the_first_day_and_the_draft_work_as_typed(tmp_path):
    first_day, onboard = COMMANDS[:3], next(c for c in COMMANDS if c.startswith("banyan onboard"))
    assert [command.split()[0] for command in first_day] == ["mkdir", "cp", "banyan"]
    for command in first_day:
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "first/matches/date=2026-03-02/manifest.json").read_text())
    assert (manifest["received"], manifest["matched"]) == (3, 3)
    assert len(list((tmp_path / "first").glob("outbox/*/first-bank/leads*.csv"))) == 1
    drafted = run(onboard, tmp_path)
    assert drafted.returncode == 0, drafted.stderr
    assert "# QUESTION:" in (tmp_path / "sba.yml").read_text("utf-8")


def test_a_named_file_is_there():
    named = re.findall(r"^    (landing/.+)$", SECTION, re.MULTILINE)
    assert len(named) == 3
    assert all((PROJECT / "docs/first-files" / name).is_file() for name in named)
