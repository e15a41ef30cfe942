"""What tests compare with what is promised, told as a diff that a person can act on."""

import difflib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.contracts import Contract


def text_drift(name: str, on_disk: str, derived: str) -> str:
    """Return a unified diff from `on_disk` to `derived`; empty where they are the same."""
    lines = (text.splitlines(keepends=True) for text in (on_disk, derived))
    return "".join(difflib.unified_diff(*lines, f"{name} on disk", f"{name} as derived", n=1))


def schema_drift(contract: Contract, path: Path) -> str:
    """Return how the Arrow schema of a lake file differs from its contract; empty if it doesn't.

    Names, types, time zones and order of the columns count.
    """
    held = "".join(map(_line, pq.read_schema(path)))
    return text_drift(f"schema of {path.name}", held, "".join(map(_line, contract.lake_schema)))


def _line(field: pa.Field) -> str:
    # Parquet calls the item of every list `element`; Arrow itself sees no difference.
    return f"{field.name}: {field.type}\n".replace("list<element: ", "list<item: ")
