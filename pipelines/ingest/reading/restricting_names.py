"""Names of unknown columns that say that they restrict, by `policy/restricting_names.yml`."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from expectations import policy
from pipelines.ingest.reading.column_names import split_words

Meaning = Literal["restricts", "permits"]


@lru_cache(maxsize=10_000)
def find_meaning(feed: str, name: str) -> Meaning | None:
    """Return whether an unknown column of a feed restricts or permits; None: neither."""
    patterns = policy.restricting_names().columns.get(feed)
    if patterns is None:
        return None
    words = split_words(name)
    if matches(patterns.restricts, words):
        return "restricts"
    return "permits" if matches(patterns.permits, words) else None


def sort_by_meaning(feed: str, names: Iterable[str]) -> list[str]:
    """Return names of unknown columns, the ones with a meaning first, else by name."""
    return sorted(names, key=lambda name: (find_meaning(feed, name) is None, name))


def matches(patterns: tuple[str, ...], words: str) -> bool:
    """Return whether one of the patterns is found in the words of a name or value."""
    return any(re.search(pattern, words) for pattern in patterns)
