"""The pages agree with the tree: links, verbs, targets, tasks, folders and messages."""

import re
from pathlib import Path

import pytest

from dags.steps import STEPS
from pipelines.cli.commands import banyan
from pipelines.core.settings import PROJECT, Settings

PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("dags/*.md")])
README = (PROJECT / "README.md").read_text("utf-8")
FLOW = (PROJECT / "docs" / "architecture.md").read_text("utf-8")
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text("utf-8")
FOLDERS = ("dags", "dbt_project", "expectations", "models", "pipelines")


def test_the_pages_exist():
    assert {page.name for page in PAGES} >= {"README.md", "runbook.md", "architecture.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_every_link_has_a_target(page: Path):
    text = re.sub(r"`[^`\n]*`", "", page.read_text("utf-8"))  # a regular expression is no link
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_verb_of_the_readme_is_one_of_the_command_line():
    rows = re.findall(r"^\| (`[a-z].*?) \|", README.partition("## Verbs")[2], flags=re.MULTILINE)
    verbs = {verb for row in rows for verb in re.findall(r"`([a-z][a-z-]*)", row)} - {"make"}
    assert verbs >= {"simulate", "import", "run", "report", "replay", "bench"}
    assert verbs <= set(banyan.commands)


def test_every_make_target_of_the_readme_is_in_the_makefile():
    targets = set(re.findall(r"make ([a-z]+)`", README))
    assert targets >= {"run", "test", "airflow"}
    defined = set(
        re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    assert targets <= defined


def test_every_step_of_the_day_is_in_how_the_data_flows():
    named = {name.removesuffix("[…]") for name in re.findall(r"`([a-z_]+(?:\[…\])?)`", FLOW)}
    assert set(STEPS) - named == set()


def test_every_folder_of_the_home_is_in_how_the_data_flows():
    settings = Settings()
    paths = [getattr(settings, name) for name in vars(Settings) if not name.startswith("_")]
    inside = [path for path in paths if isinstance(path, Path) and path.parent == settings.home]
    folders = {path.name for path in inside}
    assert folders >= {"landing", "lake", "matches", "step_failures"}
    assert {folder for folder in folders if f"`{folder}" not in FLOW} == set()


def test_every_named_code_file_exists():
    named = re.findall(r"`((?:dags|dbt_project|expectations|models|pipelines)/[\w/.]+)`", FLOW)
    assert len(named) > len(FOLDERS)
    assert [name for name in named if not (PROJECT / name).exists()] == []


def messages() -> list[str]:
    """Return the quoted messages of the runbook."""
    rows = re.findall(r"^\| (\*.+?\*)(?: \([^|]*\))? \|", RUNBOOK, flags=re.MULTILINE)
    return [message for row in rows for message in re.findall(r"\*([^*]+)\*", row)]


@pytest.mark.parametrize("message", messages())
def test_every_message_of_the_runbook_is_in_the_code(message: str):
    files = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py"))]
    files.append(PROJECT / "expectations" / "policy" / "verdict.yml")
    code = " ".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8")) for path in files)
    names = r"\b(?:[A-Z]{3,}|[DHNX])\b|…|:|_"
    pieces = [piece.strip(" ,.") for piece in re.split(names, message)]
    pieces = [piece for piece in pieces if len(piece.split()) > 1]
    assert pieces, "no piece is long enough for a search"
    assert [piece for piece in pieces if piece not in code] == []
