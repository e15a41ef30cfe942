"""Refuse retired words in the files that git tracks, by the rules of `retired_words.txt`.

    python .ci/check_words.py [PATH ...]

Ends with 1 where a word is found and names file, line and what to say instead. A line that must
hold such a word, as a field's own name or a quotation, ends with `words: keep` and the reason.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RULES = Path(__file__).with_name("retired_words.txt")
TEXT = {
    ".cfg",
    ".css",
    ".html",
    ".ini",
    ".j2",
    ".md",
    ".py",
    ".sh",
    ".sql",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}
EXCLUDED = {
    ".ci/retired_words.txt",
    ".ci/check_words.py",
    "docs/glossary.md",
    "docs/reference/commands.md",
    "LICENSE",
    "requirements-dev.txt",
    "requirements-spark.txt",
    "requirements.txt",
}
"""The rules, the page that explains them, a page derived from the code, and texts of others."""
KEEP = "words: keep"


def main(arguments: list[str]) -> int:
    """Check the given paths, or every tracked text file; return the exit code."""
    rules = load_rules()
    found = [hit for path in tracked_files(arguments) for hit in check_file(path, rules)]
    print("\n".join(found) or "no retired words")  # noqa: T201
    return 1 if found else 0


def load_rules() -> list[tuple[re.Pattern[str], str]]:
    """Return each rule's pattern and what to say instead."""
    lines = (line for line in RULES.read_text("utf-8").splitlines() if line and line[0] != "#")
    split = (line.split(" => ", 1) for line in lines)
    return [
        (re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE), say) for words, say in split
    ]


def tracked_files(arguments: list[str]) -> Iterator[Path]:
    """Yield the tracked text files below `arguments`, or below the project's root."""
    listed = subprocess.run(  # noqa: S603
        ["git", "ls-files", "-z", "--", *arguments],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if (
            name not in EXCLUDED
            and path.is_file()
            and (path.suffix in TEXT or path.name == "Makefile")
        ):
            yield path


def check_file(path: Path, rules: list[tuple[re.Pattern[str], str]]) -> Iterator[str]:
    """Yield one line for each retired word in the name or the text of a file."""
    name = path.relative_to(ROOT).as_posix()
    for number, line in enumerate([name, *path.read_text("utf-8").splitlines()]):
        if KEEP in line:
            continue
        words = split_identifiers(line)
        for pattern, say in rules:
            if match := pattern.search(words):
                yield f"{name}:{number}: {match[0]!r}; say: {say}"


def split_identifiers(line: str) -> str:
    """Return `line` with the words of its identifiers apart: `ToldPrices` as `Told Prices`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", line).replace("_", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
