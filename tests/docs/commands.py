"""The commands of the pages: every line of a code block, and code in the text that is a command."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.core.settings import PROJECT

PAGES = sorted(
    [
        *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "dags/README.md")),
        *PROJECT.glob("docs/*.md"),
        *PROJECT.glob("docs/decisions/*.md"),
        *PROJECT.glob("expectations/mappings/**/*.md"),
    ]
)
SHELL = {"", "bash", "sh", "shell", "console"}
"""Languages of a block of commands; a block in another language, such as `yaml`, has none."""

NO_COMMANDS = (
    "landing ─► ingest",  # the stages
    "var/landing/leads/",  # the path of a file
    "landing/leads/my-channel/",  # paths of files
    "p (F(t2) - F(t1))",  # formulas
    "D(p) = sum of upper_r",
    "sum over the chosen pairs",
    "value   = person_weight",
    "cli > bench > dags",  # the layers
)
"""First words of the blocks that hold no command."""

IN_TEXT = re.compile(r"`((?:banyan|make|pytest|python -m \w+) [^`\n]+)`")
"""Code in the text that begins as a command."""


class Command(NamedTuple):
    """A command as a page has it."""

    page: str
    line: int
    text: str
    is_in_text: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"

    @property
    def words(self) -> list[str]:
        """Return the words as a shell splits them, without a comment."""
        return shlex.split(self.text, comments=True)


def list_commands() -> list[Command]:
    """Return every command of every page; the lines of blocks first."""
    return [
        Command(page.relative_to(PROJECT).as_posix(), line, text, is_in_text=find is _in_text)
        for find in (_in_blocks, _in_text)
        for page in PAGES
        for line, text in find(page)
    ]


def _in_blocks(page: Path) -> Iterator[tuple[int, str]]:
    for start, block in code_blocks(page.read_text("utf-8")):
        if block and not block[0].strip().startswith(NO_COMMANDS):
            yield from _join_lines(start, block)


def code_blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield first line number and lines of each indented block and each fenced block of shell."""
    block, start, fence, before = [], 0, None, ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        mark = re.match(r"\s*(```+|~~~+)\s*(\w*)", line)
        if fence is None and mark:
            fence, block, start = (mark[1], mark[2]), [], number + 1
        elif fence is not None:
            if mark and mark[1] == fence[0]:
                if fence[1] in SHELL:
                    yield start, block
                fence, block = None, []
            else:
                block.append(line)
        elif line.startswith("    ") and (block or not before.strip()):
            start = start if block else number
            block.append(line[4:])
        elif block:
            yield start, block
            block = []
        before = line


def _join_lines(start: int, block: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the commands of a block; one that ends with a backslash goes on in the next line."""
    text = ""
    for number, line in enumerate(block, start):
        text += line.strip()
        if text.endswith("\\"):
            text = text[:-1]
        elif text:
            if not text.startswith("#"):
                yield number, text
            text = ""


def _in_text(page: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        for found in IN_TEXT.findall(line):
            yield number, found.replace("\\|", "|")
