"""The feed that a file in the folder of none, or of another one, resembles by its header."""

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.contracts import contracts

HEADER_NOTE = "its header resembles the feed "
"""Before the feed, in the note of a file in the ledger and in the message of a rejected file: the
file may be gone when they are read."""
HEAD = 65_536
"""Bytes of a file in which the names of columns are looked for."""
LEAST_SHARE = 0.75
"""Least share of a feed's required columns that a header names."""


def find_feed(path: Path) -> str | None:
    """Return the feed that restricts and most of whose required columns a file names."""
    names = _list_names(path)
    shares = {
        contract.feed: len(names & set(contract.required)) / len(contract.required)
        for contract in contracts()
        if contract.on_unreadable
    }
    best = max(shares, key=lambda feed: shares[feed])
    return best if shares[best] >= LEAST_SHARE else None


def read_resembled_feed(note: str) -> str | None:
    """Return the feed that the note or message of a file names."""
    found = re.search(rf"{HEADER_NOTE}(\w+)", note)
    return found.group(1) if found else None


def _list_names(path: Path) -> set[str]:
    """Return the words of a text file's head, in any encoding of ASCII, or Parquet's columns."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
        if head.startswith(b"PAR1"):
            return set(pq.read_schema(path).names)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path, "rb") as unzipped:
                head = unzipped.read(HEAD)
    except (OSError, EOFError, pa.ArrowException):
        return set()
    return set(re.findall(r"\w+", head.replace(b"\0", b"").decode("ascii", "replace")))
