"""How a file can be damaged on its way, and what of it is harmless."""

import codecs
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from expectations.contracts import Contract
from pipelines.simulate.corruption.value_corruptions import NONE
from pipelines.simulate.write_feeds import as_text, gzipped, land, utc

CSV, JSONL, PACKED = ("csv", "csv.gz"), ("jsonl", "jsonl.gz"), ("csv.gz", "jsonl.gz")
TEXT, PARQUET = (*CSV, *JSONL), ("parquet",)
ALL = (*TEXT, *PARQUET)
TAIL = 40
"""Bytes that a Parquet file is short of: its footer is no longer whole."""
UNKNOWN = "internal_note"
"""A column that no contract has."""

Tables = Callable[[pa.Table, Contract], pa.Table]
Bytes = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Damage:
    """One way in which a file differs from what its contract says."""

    name: str
    rule: str
    """As quarantine names it."""
    forms: tuple[str, ...]
    """Formats of files in which it occurs."""
    severity: str = "critical"
    """`NONE` where ingest takes the file, or leaves it alone, as if nothing were wrong."""
    table: Tables | None = None
    """What happens to the rows before they are written,"""
    text: Bytes | None = None
    """then to the text, before it is packed,"""
    last_line: Bytes | None = None
    """or to its last line alone: then the rows before it can be read,"""
    packed: Bytes | None = None
    """and at last to the bytes of the file."""
    ending: str = ""
    """What its name ends in besides."""

    def write(self, contract: Contract, table: pa.Table, folder: Path, name: str, form: str) -> str:
        """Write `table` as a file with this damage and return the file's name."""
        named = f"{name}.{form}{self.ending}"
        land(self.table(table, contract) if self.table else table, folder, name, form)
        path = folder / f"{name}.{form}"
        if self.text:
            rewrite(path, [self.text])
        if self.last_line:
            rewrite(path, [partial(_on_last_line, self.last_line)])
        if self.packed:
            path.write_bytes(self.packed(path.read_bytes()))
        path.rename(folder / named)
        return named


def rewrite(path: Path, changes: list[Bytes]) -> None:
    """Change the text of a landed file, which may be packed."""
    is_packed = path.suffix == ".gz"
    text = gzip.decompress(path.read_bytes()) if is_packed else path.read_bytes()
    for change in changes:
        text = change(text)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(gzipped(text) if is_packed else text)
    part.replace(path)


def _on_last_line(change: Bytes, text: bytes) -> bytes:
    before, line = text[:-1].rsplit(b"\n", 1)
    return before + b"\n" + change(line) + b"\n"


def _nothing(_: bytes) -> bytes:
    return b""


def _without_required(table: pa.Table, contract: Contract) -> pa.Table:
    return table.drop_columns(contract.required[-1])


def _nested(table: pa.Table, contract: Contract) -> pa.Table:
    name = contract.required[-1]
    column = table[name].combine_chunks()
    boxed = pa.StructArray.from_arrays([column], ["value"])
    return table.set_column(table.schema.get_field_index(name), name, boxed)


def _column_twice(text: bytes) -> bytes:
    header, *rows = text.splitlines()
    lines = [header + b"," + header.split(b",", 1)[0], *(row + b",1" for row in rows)]
    return b"\n".join(lines) + b"\n"


def _in_utf_16(text: bytes) -> bytes:
    return codecs.BOM_UTF16_LE + text.decode("utf-8").encode("utf-16-le")


def _half(line: bytes) -> bytes:
    text = line.decode("utf-8")
    return text[: len(text) // 2].encode("utf-8")


DAMAGES = (
    # refused whole
    Damage("empty", "empty", TEXT, packed=_nothing),
    Damage("empty", "parquet", PARQUET, packed=_nothing),
    Damage("cut", "gzip", PACKED, packed=lambda data: data[: len(data) // 2]),
    Damage("cut", "parquet", PARQUET, packed=lambda data: data[:-TAIL]),
    Damage("not_packed", "gzip", PACKED, packed=gzip.decompress),
    Damage("no_header", "header", CSV, text=lambda text: text.split(b"\n", 1)[1]),
    Damage("column_missing", "header", (*CSV, *PARQUET), table=_without_required),
    Damage("column_missing", "reject_share", JSONL, table=_without_required),
    Damage("column_twice", "header", CSV, text=_column_twice),
    Damage("column_nested", "type", PARQUET, table=_nested),
    Damage("semicolons", "header", CSV, text=lambda text: text.replace(b",", b";")),
    Damage("one_array", "reject_share", JSONL,
           text=lambda text: b"[" + text[:-1].replace(b"\n", b",") + b"]\n"),
    Damage("utf_16", "encoding", TEXT, text=_in_utf_16),
    Damage("renamed", "name", ALL, ending=".bak"),
    # the last line is lost
    Damage("fields_more", "fields", CSV, last_line=lambda line: line + b",1"),
    Damage("fields_fewer", "fields", CSV, last_line=lambda line: line.split(b",", 1)[0]),
    Damage("quote_open", "quote", CSV, last_line=lambda line: b'"' + line),
    Damage("half_line", "json", JSONL, last_line=_half),
    Damage("latin_1", "encoding", TEXT, last_line=lambda line: line[:2] + b"\xe9" + line[2:]),
    Damage("nul", "encoding", TEXT, last_line=lambda line: line[:2] + b"\0" + line[2:]),
    Damage("carriage_return", "line_end", TEXT,
           last_line=lambda line: line.replace(b",", b"\r,", 1)),
    # harmless
    Damage("no_rows", "no_rows", (*CSV, *PARQUET), NONE, table=lambda table, _: table.slice(0, 0)),
    Damage("unfinished", "part", ALL, NONE, packed=lambda data: data[: len(data) // 2],
           ending=".part"),
)  # fmt: skip
"""What damages a file of its own, beside the sound one."""

QUIRKS = (
    Damage("columns_as_text", "column_type", PARQUET, NONE,
           table=lambda table, _: as_text(table, utc)),
    Damage("column_unknown", "unknown_column", ALL, NONE,
           table=lambda table, _: table.append_column(UNKNOWN, pa.array(
               np.full(table.num_rows, "call back")))),
    Damage("columns_reversed", "column_order", ALL, NONE,
           table=lambda table, _: table.select(table.column_names[::-1])),
    Damage("crlf", "line_end", TEXT, NONE, text=lambda text: text.replace(b"\n", b"\r\n")),
    Damage("blank_lines", "blank_line", TEXT, NONE, text=lambda text: text + b"\n\r\n\n"),
    Damage("no_line_end", "line_end", TEXT, NONE, text=lambda text: text.rstrip(b"\r\n")),
    Damage("byte_order_mark", "byte_order_mark", TEXT, NONE,
           text=lambda text: codecs.BOM_UTF8 + text),
)  # fmt: skip
"""What a sound file may have and ingest reads all the same."""
