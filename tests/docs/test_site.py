"""The documentation as a site: every link has a target, no request leaves it, search is offline."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.cli.commands import banyan
from pipelines.cli.reference import COMMANDS, SETTINGS, render_pages
from pipelines.core.settings import PROJECT, Settings
from tests.docs.picture import run_chromium

CHANGED = ("docs", ".ci", "mkdocs.yml")


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", f"{site}"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "BANYAN_HOME": f"{site.parent}/home"}
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    process = build(PROJECT, folder)
    assert process.returncode == 0, process.stderr
    return folder


def copy_project(to: Path) -> Path:
    """Return a project whose pages may be changed; the rest are links to this one."""
    to.mkdir()
    for path in PROJECT.iterdir():
        if path.name not in {*CHANGED, ".git", "site", "var"}:
            (to / path.name).symlink_to(path)
    for name in CHANGED:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copyfile
        copy(PROJECT / name, to / name)
    return to


def test_a_broken_link_and_a_page_without_a_place_in_the_menu_fail_the_build(tmp_path: Path):
    """Each kind is a warning of its own, and a build with one warning fails."""
    broken = {
        "world": "nothing.md",
        "glossary": "world.md#nothing",
        "licences": "../expectations/policy/nothing.yml",
    }
    project = copy_project(tmp_path / "project")
    for page, target in broken.items():
        with (project / "docs" / f"{page}.md").open("a") as text:
            text.write(f"\n[x]({target})\n")
    (project / "docs" / "lost.md").write_text("# Lost\n")
    process = build(project, tmp_path / "site")
    assert process.returncode == 1
    warnings = [line for line in process.stderr.splitlines() if "WARNING" in line]
    for page in broken:
        assert any(f"{page}.md" in line for line in warnings), (page, process.stderr)
    assert "lost.md" in process.stderr


@pytest.mark.prove
def test_a_page_without_a_place_in_the_menu_fails_the_build_by_itself(tmp_path: Path):
    project = copy_project(tmp_path / "project")
    (project / "docs" / "lost.md").write_text("# Lost\n")
    process = build(project, tmp_path / "site")
    assert process.returncode == 1
    assert "lost.md" in process.stderr


class Requests(HTMLParser):
    """The addresses that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        names = {"script": "src", "img": "src", "link": "href", "iframe": "src"}
        values = dict(attrs)
        if tag in names and values.get("rel") != "canonical" and values.get(names[tag]):
            self.addresses.append(values[names[tag]])


def test_no_page_requests_anything_from_elsewhere(site: Path):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        requests = Requests()
        requests.feed(page.read_text("utf-8"))
        assert requests.addresses
        for address in requests.addresses:
            path = re.split("[?#]", address)[0]
            assert not re.match(r"[a-z]+:|//", address), f"{page}: {address}"
            if not path.startswith("/"):  # the page of a missing address names the server's root
                assert (page.parent / path).exists(), f"{page}: {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:|//)", sheet.read_text("utf-8"))


def test_pages_and_files_outside_of_docs_are_in_the_site(site: Path):
    titles = {"index": "Banyan", "contributing": "Contributing", "schedules": "Schedules"}
    for name, title in titles.items():
        assert f'<h1 id="{title.lower()}">{title}' in (site / f"{name}.html").read_text("utf-8")
    policy = (site / "files" / "expectations" / "policy" / "value.yml.page.html").read_text("utf-8")
    assert "person_weight" in policy
    decisions = (site / "decisions" / "index.html").read_text("utf-8")
    for page in PROJECT.glob("docs/decisions/*.md"):
        assert f'href="{page.stem}.html"' in decisions


def test_code_in_tables_shows_no_backslash(site: Path):
    assert r"\|" not in (site / "figures.html").read_text("utf-8")


def test_the_reference_on_disk_is_the_derived_one():
    for name, text in render_pages().items():
        assert (PROJECT / name).read_text("utf-8") == text, f"{name}: run `make docs`"


def test_every_verb_and_setting_has_its_meaning():
    pages = render_pages()
    for verb in banyan.commands:
        assert f"\n## {verb}\n" in pages[COMMANDS]
    options = re.findall(r"^\| `(--[^`]+)` \|.*\| (.*) \|$", pages[COMMANDS], re.MULTILINE)
    assert len(options) > 100
    assert [name for name, meaning in options if not meaning.strip()] == []
    for name in Settings.model_fields:
        row = re.search(
            rf"^\| `BANYAN_{name.upper()}` \|.*\| (.+) \|$", pages[SETTINGS], re.MULTILINE
        )
        assert row, name
    assert f"{PROJECT}" not in "".join(pages.values())


@pytest.mark.prove
def test_the_search_works_in_a_folder_without_a_server(site: Path):
    page = run_chromium("--dump-dom", f"file://{site}/index.html?q=quarantine", wait_ms=15_000)
    assert re.search(r"\d+ matching documents", page)
    assert 'href="runbook.html' in page.partition("md-search-result__list")[2]
