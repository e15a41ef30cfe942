"""Hooks of the documentation site: what lies outside `docs/`, and the decisions in the menu.

README.md and other pages outside `docs/` become pages of the site, without a copy in git. A link
from a page to a file or folder of the repository, such as `../expectations/policy/value.yml`, gets
a page with its text, so every link works in the built site as it does in the repository.
"""

import posixpath
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from pipelines.core.settings import Settings

ROOT = Path(__file__).resolve().parents[1]

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "dags/README.md": "schedules.md",
}
"""Pages outside `docs/`, by path in the repository -> path in the site."""

FOLDERS = {"docs/decisions": "decisions/index.md", "docs/monitoring": "monitoring.md"}
"""Folders whose list of files has a place in the menu."""

DECISIONS = "decisions/*"
"""The entry of the menu in place of every decision that has no place of its own."""

TABLES = "reference/tables.md"

LANGUAGES = {".json": "json", ".py": "python", ".sql": "sql", ".yaml": "yaml", ".yml": "yaml"}
LARGEST_PAGE = 200_000
"""Bytes of a file that is shown as a page; a larger or binary one is copied as it is."""

NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n"

CODE_OR_LINK = re.compile(
    r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)|(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<before>\]\()(?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?P<after>\))",
    re.DOTALL | re.MULTILINE,
)
"""Code, which has no links, or a relative link of Markdown."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the decisions that the menu does not name in place of `DECISIONS`."""
    named = set(_names(config.nav))
    rest = [
        f"decisions/{path.name}"
        for path in sorted((ROOT / "docs" / "decisions").glob("*.md"), key=_title)
        if f"decisions/{path.name}" not in named
    ]
    config.nav = _replace(config.nav, DECISIONS, ["decisions/index.md", *rest])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside `docs/`, and a page for each file or folder that a page links to."""
    for source, target in PAGES.items():
        files.append(_file(config, target, (ROOT / source).read_text("utf-8")))
    for source, target in FOLDERS.items():
        files.append(_file(config, target, _list_folder(ROOT / source)))
    for file in _describe_tables(config):
        files.append(file)
    waiting = [_repository_path(file.src_uri) for file in files.documentation_pages()]
    while waiting:
        source = waiting.pop()
        text = _list_folder(ROOT / source) if (ROOT / source).is_dir() else _read(ROOT / source)
        for target in _link_targets(source, text):
            if not (ROOT / target).exists():
                continue  # MkDocs reports it
            uri = _site_path(target)
            if files.get_file_from_path(uri) is None:
                files.append(_included_file(config, target, uri))
                if uri.endswith(".md") and (target.endswith(".md") or (ROOT / target).is_dir()):
                    waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Point the links of a page, which hold in the repository, to the same place in the site."""
    source = _repository_path(page.file.src_uri)
    folder = posixpath.dirname(page.file.src_uri)

    def point(match: re.Match[str]) -> str:
        if match["ticks"] and _is_in_table(match):
            return match[0].replace(r"\|", "|")  # Python-Markdown would show the backslash
        target = _resolve(source, match["path"]) if match["path"] else None
        if target is None or not (ROOT / target).exists():
            return match[0]
        path = posixpath.relpath(_site_path(target), folder or ".")
        return f"{match['before']}{path}{match['anchor'] or ''}{match['after']}"

    return CODE_OR_LINK.sub(point, markdown)


def _is_in_table(match: re.Match[str]) -> bool:
    line_start = match.string.rfind("\n", 0, match.start()) + 1
    return match.string[line_start] == "|"


def _names(nav: object) -> Iterator[str]:
    """Yield every page that the menu names."""
    match nav:
        case str():
            yield nav
        case list():
            for item in nav:
                yield from _names(item)
        case dict():
            yield from _names([*nav.values()])


def _replace(nav: object, name: str, pages: list[str]) -> object:
    """Return the menu with `pages` in place of `name`."""
    match nav:
        case list():
            return [_replace(item, name, pages) for item in nav]
        case dict():
            return {key: _replace(value, name, pages) for key, value in nav.items()}
    return pages if nav == name else nav


@cache
def _title(path: Path) -> str:
    """Return the first heading of a page."""
    return _read(path).partition("\n")[0].removeprefix("# ")


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.suffix == ".md" and path.is_file() else ""


def _repository_path(uri: str) -> str:
    """Return the path in the repository of a page of the site."""
    for source, target in (PAGES | FOLDERS).items():
        if uri == target:
            return source
    if uri.startswith("files/"):
        return uri.removeprefix("files/").removesuffix("/index.md").removesuffix(".page.md")
    return f"docs/{uri}"


def _site_path(source: str) -> str:
    """Return the path in the site of a file or folder of the repository."""
    if source in PAGES | FOLDERS:
        return (PAGES | FOLDERS)[source]
    path = ROOT / source
    if path.is_dir():
        return f"files/{source}/index.md"
    if source.startswith("docs/") and path.suffix not in LANGUAGES:
        return source.removeprefix("docs/")
    return f"files/{source}.page.md" if _is_shown(path) else f"files/{source}"


def _is_shown(path: Path) -> bool:
    if path.stat().st_size > LARGEST_PAGE:
        return False
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _resolve(source: str, link: str) -> str | None:
    """Return the path in the repository that a link of `source` names; None: outside of it."""
    folder = source if (ROOT / source).is_dir() else posixpath.dirname(source)
    target = posixpath.normpath(posixpath.join(folder, unquote(link)))
    return None if target.startswith("..") else target


def _link_targets(source: str, text: str) -> Iterator[str]:
    links = (match["path"] for match in CODE_OR_LINK.finditer(text) if match["path"])
    yield from (target for link in links if (target := _resolve(source, link)))


def _included_file(config: MkDocsConfig, source: str, uri: str) -> File:
    """Return the page or copy of a file or folder of the repository."""
    path = ROOT / source
    if path.is_dir():
        return _file(config, uri, NOT_SEARCHED + _list_folder(path))
    if not uri.endswith(".md"):
        return File.generated(config, uri, abs_src_path=str(path))
    if path.suffix == ".md":
        return _file(config, uri, path.read_text("utf-8"))
    language = LANGUAGES.get(path.suffix, "text")
    text = path.read_text("utf-8").rstrip()
    page = f"# `{source}`\n\n~~~~~~ {language}\n{text}\n~~~~~~\n"
    return _file(config, uri, NOT_SEARCHED + page)


def _list_folder(folder: Path) -> str:
    """Return a page that lists the files of a folder, its pages by their titles."""
    entries = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."]
    pages = sorted((path for path in entries if path.suffix == ".md"), key=_title)
    others = [path for path in entries if path.suffix != ".md"]
    links = [f"- [{_title(path)}]({path.name})" for path in pages]
    links += [f"- [`{path.name}`]({path.name})" for path in others]
    name = folder.relative_to(ROOT)
    title = folder.name.capitalize() if name.as_posix() in FOLDERS else f"`{name}/`"
    return f"# {title}\n\n" + "\n".join(links) + "\n"


def _describe_tables(config: MkDocsConfig) -> Iterator[File]:
    """Yield the page about dbt's tables, and dbt's own page where `banyan docs` has written it."""
    written = Settings().home / "docs" / "dbt.html"
    if written.is_file():
        yield File.generated(config, "reference/dbt.html", abs_src_path=str(written))
        where = "[dbt's page of every table](dbt.html){ target=_blank }"
    else:
        where = "`make docs` puts dbt's page of every table here"
    yield _file(
        config,
        TABLES,
        f"# Tables\n\n{where}: columns, tests, SQL and the graph of what is built from what. "
        "The feeds are in the [data dictionary](../data-dictionary.md).\n",
    )


def _file(config: MkDocsConfig, uri: str, text: str) -> File:
    inclusion = InclusionLevel.NOT_IN_NAV if uri.startswith("files/") else InclusionLevel.INCLUDED
    return File.generated(config, uri, content=text, inclusion=inclusion)
