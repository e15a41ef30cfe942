"""Compare the catalogue of Chinese texts with the pages; `--update` adds what is missing.

Texts are: `trans` blocks and `_()` of templates, `text()` and nouns of `plural()` in Python, the
wording and action of each rule of the verdict, and the tables that the pages translate whole. Names
from the code that a page writes as words have the context `word`, and sentences that other steps
store the context `stored`; `tests/reports/test_chinese.py` finds missing ones on rendered pages.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment

from expectations import policy
from expectations.contracts import feeds
from pipelines.core.formats import WEEKDAYS
from pipelines.core.rendering import html
from pipelines.core.rendering.html import environment
from pipelines.core.translation import NUMBER, STORED, WORD
from pipelines.matches.shadow_price_text import GUARANTEE_TEXT
from pipelines.matches.stage_labels import DETAILS, FUNNEL
from pipelines.reports.languages import CATALOGUES, TEMPLATES
from pipelines.reports.losses import SEARCHES
from pipelines.reports.sections.conduct import READERS

ROOT = Path(__file__).parents[1]
FILE = CATALOGUES / "zh.po"
PYTHON = (ROOT / "pipelines" / "reports", ROOT / "pipelines" / "core")
SHARED = (html.TEMPLATES / "base.html", html.TEMPLATES / "macros.html")
FREE = (WORD, STORED)
"""Contexts whose messages no code lists."""
SEPARATORS = ("; ", ", ", ": ")
HEADER = """# The texts of the pages in Chinese; `.ci/translations.py` checks and completes them.
msgid ""
msgstr ""
"Language: zh\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

"""
FIGURE = re.compile(r"\{(\w+)[^}]*\}|%\((\w+)\)s")
Message = tuple[str, str]
"""Context and English."""


def list_messages() -> Iterator[Message]:
    """Yield every text that a page needs in each language."""
    for template in (*sorted(TEMPLATES.glob("*.html")), *SHARED):
        yield from _of_template(template.read_text("utf-8"), environment(TEMPLATES))
    for folder in PYTHON:
        for path in sorted(folder.rglob("*.py")):
            yield from _of_python(ast.parse(path.read_text("utf-8")))
    for rule in policy.verdict_rules().values():
        yield "", rule.wording
        yield "", rule.action
    for name in (*_accepted_values(), *feeds()):
        yield WORD, name.replace("_", " ")
    for kind in policy.retention().kinds:
        yield "", kind.what
        yield WORD, kind.kind
    for part in (*SEARCHES, *(name for name, _ in READERS.values())):
        yield WORD, part
    tables = (*DETAILS.values(), *FUNNEL.values(), *GUARANTEE_TEXT.values())
    yield from (("", message) for message in (*tables, *WEEKDAYS, *SEPARATORS))


def _accepted_values() -> Iterator[str]:
    """Yield the codes that columns of the marts may hold, such as why a product is closed."""
    for path in sorted((ROOT / "dbt_project" / "marts").glob("*.yml")):
        yield from _find_accepted(yaml.safe_load(path.read_text("utf-8")))


def _find_accepted(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "accepted_values":
                yield from map(str, value["arguments"]["values"])
            else:
                yield from _find_accepted(value)
    elif isinstance(node, list):
        for each in node:
            yield from _find_accepted(each)


def _of_template(source: str, made: Environment) -> Iterator[Message]:
    for _, _, message in made.extract_translations(source):
        if isinstance(message, str):
            yield "", message
    for noun in re.findall(r'plural\("([^"]+)"', source):
        yield NUMBER, noun


def _of_python(tree: ast.Module) -> Iterator[Message]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name, literals = (
            node.func.id,
            [
                each.value
                for each in node.args
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ],
        )
        if name == "text" and literals:
            yield "", literals[0]
        if name == "plural" and literals:
            yield NUMBER, literals[0]
        if name == "load" and literals:
            yield WORD, literals[0]  # a part of the report


def read_stored() -> dict[Message, str]:
    """Return the stored translations."""
    with FILE.open("rb") as file:
        stored = read_po(file, locale="zh")
    return {
        (message.context or "", str(message.id)): str(message.string)
        for message in stored
        if message.id
    }


def find_mistakes(needed: set[Message], stored: dict[Message, str]) -> list[str]:
    """Return what is missing, what no page needs, and translations with other figures."""
    mistakes = [
        f"not translated: {message!r}" for message in sorted(needed) if not stored.get(message)
    ]
    mistakes += [
        f"no page has it: {message!r}"
        for message in sorted(stored)
        if message not in needed and message[0] not in FREE
    ]
    for (context, english), chinese in sorted(stored.items()):
        figures = _figures(english) | ({"number"} if context == NUMBER else set())
        if chinese and _figures(chinese) != figures:
            mistakes.append(f"figures differ: {english!r}")
    return mistakes


def _figures(message: str) -> set[str]:
    return {first or second for first, second in FIGURE.findall(message)}


def write_stored(needed: set[Message], stored: dict[Message, str]) -> None:
    """Write the catalogue: what is needed, and the words."""
    catalogue = Catalog(locale="zh", project="Banyan", fuzzy=False)
    kept = needed | {message for message in stored if message[0] in FREE}
    for context, english in sorted(kept):
        catalogue.add(english, stored.get((context, english), ""), context=context or None)
    with FILE.open("wb") as file:
        file.write(HEADER.encode())
        write_po(file, catalogue, width=100, omit_header=True)


def main() -> None:
    """Check the catalogue, or write it again."""
    needed, stored = set(list_messages()), read_stored()
    if "--update" in sys.argv:
        write_stored(needed, stored)
        return
    mistakes = find_mistakes(needed, stored)
    if mistakes:
        sys.exit(
            "\n".join(
                [*mistakes, f"Write them into {FILE.relative_to(ROOT)}: `--update` adds them."]
            )
        )
    sys.stdout.write("every text of the pages is translated\n")


if __name__ == "__main__":
    main()
