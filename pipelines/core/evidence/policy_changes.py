"""What differs between two versions of the policies, entry by entry, and who decided it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

DECIDED = ("decided_by", "why")
"""Keys of an entry that say who answers for it, and why."""
MAX_TEXT = 300
"""Characters of an entry that are shown."""

Files = Mapping[str, bytes]
"""The policies of a version: name of a file -> its text."""


@dataclass(frozen=True)
class ChangedEntry:
    """An entry of a file that only one of the versions has: a change of it is two of them."""

    file: str
    is_new: bool
    """It is in the second version."""
    text: str
    """Its keys and values but the ones below, the beginning."""
    decided_by: str
    """The person or board that answers for it; empty: not stated."""
    why: str


def compare_files(before: Files, after: Files) -> dict[str, str]:
    """Return the files that differ: name -> changed, added or removed."""
    changed = {}
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            changed[name] = "removed"
        elif name not in before:
            changed[name] = "added"
        elif before[name] != after[name]:
            changed[name] = "changed"
    return changed


def compare_entries(before: Files, after: Files) -> Iterator[ChangedEntry]:
    """Yield the entries that only one version has, by file, the ones that are gone first."""
    for name in compare_files(before, after):
        old, new = (_read_entries(files.get(name, b"")) for files in (before, after))
        for entries, others, is_new in ((old, new, False), (new, old, True)):
            for entry, decided in entries:
                if not any(entry == each for each, _ in others):
                    text = ", ".join(f"{key} {value}" for key, value in entry.items())
                    yield ChangedEntry(name, is_new, text[:MAX_TEXT], *decided)


def _read_entries(content: bytes) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    """Return the entries of a file, each with who decided it and why.

    Of a file that is no list of entries each key is one, and the decision is the file's.
    """
    stored = yaml.safe_load(content) or []
    if isinstance(stored, dict):
        whole = tuple(f"{stored.get(key) or ''}" for key in DECIDED)
        return [({key: value}, whole) for key, value in stored.items() if key not in DECIDED]
    return [
        (
            {key: value for key, value in entry.items() if key not in DECIDED},
            tuple(f"{entry.get(key) or ''}" for key in DECIDED),
        )
        for entry in stored
        if isinstance(entry, dict)
    ]
