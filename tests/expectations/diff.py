"""Compare files with what they are derived from, as a diff that a person can act on."""

import difflib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.contracts import Contract


def diff_text(name: str, on_disk: str, derived: str) -> str:
    """Return a unified diff from `on_disk` to `derived`; empty if they are equal."""
    before, after = (text.splitlines(keepends=True) for text in (on_disk, derived))
    names = (f"{name} on disk", f"{name} as derived")
    return "".join(difflib.unified_diff(before, after, *names, n=1))


def diff_schema(contract: Contract, path: Path) -> str:
    """Return the difference of a lake file's Arrow schema from its contract; empty if none.

    Names, types, time zones and order of the columns count.
    """
    on_disk = "".join(map(_line, pq.read_schema(path)))
    return diff_text(f"schema of {path.name}", on_disk, "".join(map(_line, contract.lake_schema)))


def _line(field: pa.Field) -> str:
    # Parquet calls the item of every list `element`; Arrow itself sees no difference.
    return f"{field.name}: {field.type}\n".replace("list<element: ", "list<item: ")
