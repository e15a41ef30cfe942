"""Kinds of corruption: of single values, derived from the feed's contract, and of whole files."""

import codecs
import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from expectations.contracts import Column, Contract, Order, load
from pipelines.simulate.write_feeds import (
    compress_gzip,
    format_table,
    format_utc,
    write_feed_file,
)

REPAIRED = "none"
"""Severity of a corruption that ingest repairs: nothing is quarantined and no value is lost."""

WRONG_TYPE = {
    "text": (),
    "list": ("all||", "|"),
    "integer": ("unknown", "36.5", "1,234", "T", "`"),
    "number": ("unknown", "1,234.50", "¥1234", "1 234", "1e400", "`"),
    "boolean": ("maybe", "T", "`"),
    "date": ("31/02/2020", "2024-02-30", "2020-1-5", "03/2020", "2/28/1997"),
    "timestamp": ("yesterday", "2026-01-28", "2026-01-28T10:00:00", "2026-1-5T9:00:00Z"),
}
"""Text that is no value of a type, as real feeds have it: words and currency signs in numbers,
thousands separators, stray characters, times without a zone, dates that do not exist, have no day,
another order or no leading zeros."""
WRONG_TEXT = ("`", "0", "two words", "cny", "2026-1", "2026-13")
"""Text that some pattern or list of values does not allow."""
PERCENT = 14.95
"""A rate as a percentage, where the contract asks for a fraction."""
LONG_AGO = "1970-01-01"
PLACEHOLDER = "NULL"
"""A word that programs write where nothing is stored."""
BEFORE, AFTER = "\u3000", " "
"""White space around a value: an ideographic and an ordinary blank."""


@dataclass(frozen=True)
class ValueCorruption:
    """One way in which a value can break its contract."""

    column: str
    sent: str | None
    """The text that is sent instead of the value."""
    rule: str
    """The rule that quarantine names."""
    severity: str
    earlier: str = ""
    """Column of the earlier date: the rule breaks only where its value is above the one sent."""
    is_padded: bool = False
    """True where the value itself is sent, with white space around it."""

    @property
    def is_text(self) -> bool:
        """True where a column of numbers or dates cannot hold the value sent."""
        return self.rule == "type" or self.is_padded or self.sent in (" ", PLACEHOLDER)


@cache
def value_corruptions(
    feed: str, columns: tuple[str, ...], typed: tuple[str, ...] = ()
) -> tuple[ValueCorruption, ...]:
    """Return every way to corrupt one value of a row; each breaks exactly one rule.

    Args:
        feed: The feed of the contract.
        columns: The columns of the row.
        typed: Columns that hold values of their type only, and no text.
    """
    contract = load(feed)
    kinds = [kind for column in contract.columns for kind in _column_kinds(contract, column)]
    kinds += [kind for order in contract.orders for kind in _order_kinds(contract, order)]
    return tuple(
        kind
        for kind in kinds
        if {kind.column, kind.earlier or kind.column} <= set(columns)
        and not (kind.is_text and kind.column in typed)
    )


@cache
def kinds_table(kinds: tuple[ValueCorruption, ...]) -> pa.RecordBatch:
    """Return the kinds as columns: `column`, `sent`, `rule`, `severity`, `is_padded`, `is_text`."""
    texts = {
        name: pa.array([getattr(kind, name) for kind in kinds], pa.string())
        for name in ("column", "sent", "rule", "severity")
    }
    flags = {
        name: pa.array([getattr(kind, name) for kind in kinds], pa.bool_())
        for name in ("is_padded", "is_text")
    }
    return pa.record_batch(texts | flags)


def _column_kinds(contract: Contract, column: Column) -> Iterator[ValueCorruption]:
    def kind(sent: str | None, rule: str, severity: str = column.severity) -> ValueCorruption:
        return ValueCorruption(column.name, sent, rule, severity)

    yield ValueCorruption(column.name, None, "white_space", REPAIRED, is_padded=True)
    if column.on_unreadable == "hold_delivery":
        return  # one such value would hold every delivery until its list is sent again
    blanks = (None, " ", *([PLACEHOLDER] if column.placeholders else []))
    if column.required:
        yield from (kind(blank, "required", "critical") for blank in blanks)
    elif column.assumed:
        yield from (kind(blank, "absent", REPAIRED) for blank in blanks)
    if column.allowed:
        texts = [*WRONG_TEXT, column.allowed[0].upper()]
        yield from (kind(text, "allowed") for text in texts if text not in column.allowed)
    if column.pattern:
        texts = [text for text in WRONG_TEXT if not re.fullmatch(column.pattern, text)]
        yield from (kind(text, "pattern") for text in texts)
    if column.max_length is not None:
        too_long = "xyz" * column.max_length  # the same letter again and again is a placeholder
        too_long = too_long[: column.max_length + 1]
        if re.fullmatch(column.pattern or ".*", too_long):
            yield kind(too_long, "max_length")
    yield from (kind(text, "range") for text in _out_of_range(contract, column))
    yield from (kind(text, "type") for text in WRONG_TYPE[column.type])


def _out_of_range(contract: Contract, column: Column) -> Iterator[str]:
    """Yield numbers beyond the limits, on the side where they break no order of columns."""
    if column.minimum is not None and column.name not in {o.later for o in contract.orders}:
        yield _format_number(column.minimum - 1)
    if column.maximum is not None and column.name not in {o.earlier for o in contract.orders}:
        is_rate = column.type == "number" and column.maximum < PERCENT
        yield _format_number(PERCENT if is_rate else 10 * column.maximum)


def _order_kinds(contract: Contract, order: Order) -> Iterator[ValueCorruption]:
    """Yield the least possible value of `later`, which is below nearly every `earlier`."""
    later = contract[order.later]
    least = LONG_AGO if later.type == "date" else later.minimum
    if order.severity != "info" and least is not None:
        sent = least if isinstance(least, str) else _format_number(least)
        yield ValueCorruption(order.later, sent, "order", order.severity, order.earlier)


def _format_number(value: float) -> str:
    return f"{value:.15g}"


CSV, JSONL, GZIP = ("csv", "csv.gz"), ("jsonl", "jsonl.gz"), ("csv.gz", "jsonl.gz")
TEXT, PARQUET = (*CSV, *JSONL), ("parquet",)
ALL = (*TEXT, *PARQUET)
FOOTER_BYTES = 40
"""Bytes removed from a Parquet file, so that its footer is incomplete."""
UNKNOWN_COLUMN = "internal_note"
"""A column that no contract has."""

ChangeTable = Callable[[pa.Table, Contract], pa.Table]
ChangeBytes = Callable[[bytes], bytes]


@dataclass(frozen=True)
class FileCorruption:
    """One way in which a file differs from its contract."""

    name: str
    rule: str
    """The rule that quarantine names."""
    formats: tuple[str, ...]
    """File formats in which it occurs."""
    severity: str = "critical"
    """`REPAIRED` where ingest accepts the file, or ignores it."""
    table: ChangeTable | None = None
    """Change of the rows before they are written,"""
    text: ChangeBytes | None = None
    """then of the text, before it is compressed,"""
    last_line: ChangeBytes | None = None
    """or of its last line only, so that the rows before it stay readable,"""
    packed: ChangeBytes | None = None
    """and last of the bytes of the file."""
    ending: str = ""
    """Suffix added to the file's name."""

    def write(
        self, contract: Contract, table: pa.Table, folder: Path, name: str, file_format: str
    ) -> str:
        """Write `table` as a file with this corruption and return the file's name."""
        rows = self.table(table, contract) if self.table else table
        write_feed_file(rows, folder, name, file_format)
        path = folder / f"{name}.{file_format}"
        if self.text:
            rewrite_text(path, [self.text])
        if self.last_line:
            rewrite_text(path, [partial(_change_last_line, self.last_line)])
        if self.packed:
            path.write_bytes(self.packed(path.read_bytes()))
        final_name = f"{name}.{file_format}{self.ending}"
        path.rename(folder / final_name)
        return final_name


def rewrite_text(path: Path, changes: list[ChangeBytes]) -> None:
    """Change the text of a landed file, which may be compressed."""
    is_gzip = path.suffix == ".gz"
    text = gzip.decompress(path.read_bytes()) if is_gzip else path.read_bytes()
    for change in changes:
        text = change(text)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(compress_gzip(text) if is_gzip else text)
    part.replace(path)


def _change_last_line(change: ChangeBytes, text: bytes) -> bytes:
    before, line = text[:-1].rsplit(b"\n", 1)
    return before + b"\n" + change(line) + b"\n"


def _drop_line_end(text: bytes) -> bytes:
    """Drop the last line end; not after a bare value, which may be cut without it."""
    line = text.rstrip(b"\r\n")
    return line if line.endswith((b'"', b"}")) else text


def _empty(_: bytes) -> bytes:
    return b""


def _drop_required_column(table: pa.Table, contract: Contract) -> pa.Table:
    return table.drop_columns(contract.required[-1])


def _nest_column(table: pa.Table, contract: Contract) -> pa.Table:
    name = contract.required[-1]
    column = table[name].combine_chunks()
    nested = pa.StructArray.from_arrays([column], ["value"])
    return table.set_column(table.schema.get_field_index(name), name, nested)


def _repeat_column(text: bytes) -> bytes:
    header, *rows = text.splitlines()
    lines = [header + b"," + header.split(b",", 1)[0], *(row + b",1" for row in rows)]
    return b"\n".join(lines) + b"\n"


def _encode_utf_16(text: bytes) -> bytes:
    return codecs.BOM_UTF16_LE + text.decode("utf-8").encode("utf-16-le")


def _cut_in_half(line: bytes) -> bytes:
    text = line.decode("utf-8")
    return text[: len(text) // 2].encode("utf-8")


CORRUPTED_COPIES = (
    # The whole file is refused.
    FileCorruption("empty", "empty", TEXT, packed=_empty),
    FileCorruption("empty", "parquet", PARQUET, packed=_empty),
    FileCorruption("cut", "gzip", GZIP, packed=lambda data: data[: len(data) // 2]),
    FileCorruption("cut", "parquet", PARQUET, packed=lambda data: data[:-FOOTER_BYTES]),
    FileCorruption("not_packed", "gzip", GZIP, packed=gzip.decompress),
    FileCorruption("no_header", "header", CSV, text=lambda text: text.split(b"\n", 1)[1]),
    FileCorruption("column_missing", "header", (*CSV, *PARQUET), table=_drop_required_column),
    FileCorruption("column_missing", "reject_share", JSONL, table=_drop_required_column),
    FileCorruption("column_twice", "header", CSV, text=_repeat_column),
    FileCorruption("column_nested", "type", PARQUET, table=_nest_column),
    FileCorruption("semicolons", "header", CSV, text=lambda text: text.replace(b",", b";")),
    FileCorruption("one_array", "reject_share", JSONL,
                   text=lambda text: b"[" + text[:-1].replace(b"\n", b",") + b"]\n"),
    FileCorruption("utf_16", "encoding", TEXT, text=_encode_utf_16),
    FileCorruption("renamed", "name", ALL, ending=".bak"),
    # The last line is lost.
    FileCorruption("fields_more", "fields", CSV, last_line=lambda line: line + b",1"),
    FileCorruption("fields_fewer", "fields", CSV, last_line=lambda line: line.split(b",", 1)[0]),
    FileCorruption("quote_open", "quote", CSV, last_line=lambda line: b'"' + line),
    FileCorruption("half_line", "json", JSONL, last_line=_cut_in_half),
    FileCorruption("latin_1", "encoding", TEXT,
                   last_line=lambda line: line[:2] + b"\xe9" + line[2:]),
    FileCorruption("nul", "encoding", TEXT, last_line=lambda line: line[:2] + b"\0" + line[2:]),
    FileCorruption("carriage_return", "line_end", TEXT,
                   last_line=lambda line: line.replace(b",", b"\r,", 1)),
    # Nothing is lost.
    FileCorruption("no_rows", "no_rows", (*CSV, *PARQUET), REPAIRED,
                   table=lambda table, _: table.slice(0, 0)),
    FileCorruption("unfinished", "part", ALL, REPAIRED,
                   packed=lambda data: data[: len(data) // 2], ending=".part"),
)  # fmt: skip
"""Corruptions of a copy that is sent beside the intact file."""

HARMLESS_VARIANTS = (
    FileCorruption("columns_as_text", "column_type", PARQUET, REPAIRED,
                   table=lambda table, _: format_table(table, format_utc)),
    FileCorruption("column_unknown", "unknown_column", ALL, REPAIRED,
                   table=lambda table, _: table.append_column(UNKNOWN_COLUMN, pa.array(
                       np.full(table.num_rows, "call back")))),
    FileCorruption("columns_reversed", "column_order", ALL, REPAIRED,
                   table=lambda table, _: table.select(table.column_names[::-1])),
    FileCorruption("crlf", "line_end", TEXT, REPAIRED,
                   text=lambda text: text.replace(b"\n", b"\r\n")),
    FileCorruption("blank_lines", "blank_line", TEXT, REPAIRED,
                   text=lambda text: text + b"\n\r\n\n"),
    FileCorruption("no_line_end", "line_end", TEXT, REPAIRED,
                   text=_drop_line_end),
    FileCorruption("byte_order_mark", "byte_order_mark", TEXT, REPAIRED,
                   text=lambda text: codecs.BOM_UTF8 + text),
)  # fmt: skip
"""Variants of an intact file that ingest reads without loss."""
