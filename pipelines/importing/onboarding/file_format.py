"""Guess the format of a foreign file from its first bytes; the import itself guesses nothing.

A mapping knows four encodings, so the guess is by rule and not by a general detector, which calls
short Chinese files Cyrillic: a byte order mark; else UTF-8 if the bytes are valid; else GB18030 if
they are valid and mostly Chinese; else Latin-1.
"""

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from expectations.mapping_types import ForeignFile
from pipelines.core.errors import ImportRejected
from pipelines.importing.read_source import RESERVED_COLUMNS

SNIFFED_BYTES = 1 << 20
DELIMITERS = ",;\t|"
SNIFFED_LINES = 200
MAX_TITLE_LINES = 20
"""Most lines before the header that are looked for."""
CHINESE_SHARE = 0.5
"""Share of the characters beyond ASCII that are Chinese or full width, from which on bytes that are
no UTF-8 count as GB18030."""

Encoding = Literal["utf-8", "gb18030", "latin-1", "utf-16"]

MAGIC = {
    b"PK\x03\x04": "an Excel workbook or a zip archive. Unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook. Save the sheet as CSV",
    b"%PDF": "a PDF. Ask for the data as CSV",
    b"\x1f\x8b": "compressed by gzip. Give it a name that ends in .gz",
    b"7z\xbc\xaf": "a 7z archive. Unpack it",
    b"Rar!": "a RAR archive. Unpack it",
}
"""First bytes of formats that no mapping reads -> what the file is, and what to do."""


@dataclass(frozen=True)
class Guess:
    """The format of a file, with the reasons for it and what is uncertain."""

    spec: ForeignFile
    evidence: dict[str, str]
    """Key of the format -> why it was chosen."""
    questions: tuple[str, ...] = ()


def guess_format(file: Path) -> Guess:
    """Return the guessed format of `file`.

    Raises:
        ImportRejected: It is empty, no text, or of a format that no mapping reads.
    """
    head = _read_head(file)
    if not head.strip(b"\0 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise ImportRejected(
            f"{file.name} is empty: it has no text. Nothing was written. Ask for the file again."
        )
    if head.startswith(b"PAR1"):
        spec = ForeignFile(format="parquet")
        return Guess(spec, {"format": "begins with the mark of Parquet"})
    for magic, what in MAGIC.items():
        if head.startswith(magic):
            raise ImportRejected(f"{file.name} is {what}. Nothing was written.")
    encoding, why = _guess_encoding(file, head)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    evidence = {"encoding": why}
    lines = text.splitlines()[:SNIFFED_LINES]
    lines = lines[:-1] if len(lines) > 1 and len(head) == SNIFFED_BYTES else lines
    first = next(line for line in lines if line.strip())
    if first.lstrip().startswith("{"):
        names = tuple(_list_json_keys(lines))
        evidence["format"] = "its first line is a JSON object"
        return Guess(ForeignFile(format="jsonl", encoding=encoding, names=names), evidence)
    return _guess_csv(lines, encoding, evidence)


def _read_head(file: Path) -> bytes:
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as source:
            return bytes(source.read(SNIFFED_BYTES))
    except (OSError, EOFError, zlib.error) as error:
        raise ImportRejected(
            f"{file.name} can't be read: {error}. Nothing was written. Ask for the file again."
        ) from None


def _guess_encoding(file: Path, head: bytes) -> tuple[Encoding, str]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", "begins with the byte order mark of UTF-16"
    if b"\0" in head:
        raise ImportRejected(
            f"{file.name} is no text: it holds zero bytes and no mark of UTF-16. Nothing was "
            "written. Ask for CSV, JSON Lines or Parquet."
        )
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8", "begins with the byte order mark of UTF-8"
    decode = codecs.getincrementaldecoder("utf-8")("strict").decode
    try:
        decode(head)
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8", "is ASCII" if head.isascii() else "its bytes are valid UTF-8"
    text = codecs.getincrementaldecoder("gb18030")("replace").decode(head)
    beyond = [character for character in text if ord(character) > 0x7F]  # noqa: PLR2004 - ASCII
    chinese = sum("\u3000" <= c <= "\u9fff" or "\uff00" <= c <= "\uffef" for c in beyond)
    broken = beyond.count("\ufffd")
    if chinese >= CHINESE_SHARE * len(beyond) and broken <= len(beyond) / 100:
        return "gb18030", f"no valid UTF-8; as GB18030 {chinese:,} of {len(beyond):,} are Chinese"
    control = sum(byte < 0x20 and byte not in b"\t\r\n\f" for byte in head)  # noqa: PLR2004
    if control > len(head) / 100:
        raise ImportRejected(
            f"{file.name} is no text: {control:,} of its first {len(head):,} bytes are control "
            "characters. Nothing was written. Ask for CSV, JSON Lines or Parquet."
        )
    return "latin-1", "neither valid UTF-8 nor Chinese"


def _list_json_keys(lines: list[str]) -> list[str]:
    """Return the keys of the objects, as far as a pattern finds them, in order of appearance."""
    keys = (match[1] for line in lines for match in re.finditer(r'"([^"\\]+)"\s*:', line))
    return list(dict.fromkeys(keys))


def _guess_csv(lines: list[str], encoding: Encoding, evidence: dict[str, str]) -> Guess:
    delimiter, fields = _guess_delimiter(lines)
    evidence["delimiter"] = f"most lines have {fields} fields by it"
    skipped = 0
    while (
        skipped < min(MAX_TITLE_LINES, len(lines) - 1)
        and len(_split(lines[skipped], delimiter)) < fields
    ):
        skipped += 1
    skipped = skipped if skipped < min(MAX_TITLE_LINES, len(lines) - 1) else 0
    if skipped:
        evidence["skip_lines"] = "the lines before have fewer fields, as titles have"
    rows = [_split(line, delimiter) for line in lines[skipped:] if line.strip()]
    questions: list[str] = []
    names: tuple[str, ...] = ()
    if _is_header(rows):
        evidence["header"] = "the first row has names and the others values"
        if repaired := _repair_names(rows[0]):
            names, skipped = repaired, skipped + 1
            questions.append(
                "The header repeats a name or leaves one empty, so the names are written below and "
                "the header is skipped. Correct them."
            )
    else:
        evidence["header"] = "the first row looks like the others"
        names = tuple(f"column_{position + 1}" for position in range(fields))
        questions.append(
            "The file has no header, it seems. Write the real names under `names`, or `header: "
            "true` without `names` if the first row has them."
        )
    if len(rows) == 1:
        questions.append("The file has one row. Is it a header without data?")
    if delimiter == ";" and any(re.search(r"\d,\d", line) for line in lines[skipped + 1 :]):
        questions.append(
            "Semicolons between fields often go with a comma as the decimal sign (1234,50). "
            "Check each number below."
        )
    spec = ForeignFile(
        format="csv",
        encoding=encoding,
        delimiter=delimiter,
        header=not names,
        names=names,
        skip_lines=skipped,
    )
    return Guess(spec, evidence, tuple(questions))


def _guess_delimiter(lines: list[str]) -> tuple[str, int]:
    """Return the delimiter that splits the most lines into the same number of fields, above 1."""
    best = (0.0, 0, ",", 1)
    for delimiter in DELIMITERS:
        counts = Counter(len(_split(line, delimiter)) for line in lines if line.strip())
        fields, times = max(counts.items(), key=lambda item: (item[1], item[0]))
        if fields > 1:
            best = max(best, (times / counts.total(), fields, delimiter, fields))
    return best[2], best[3]


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _repair_names(header: list[str]) -> tuple[str, ...]:
    """Return names that are distinct and not empty; empty if the header has them already."""
    names: list[str] = []
    for position, name in enumerate(header):
        base = name.strip() or f"column_{position + 1}"
        base = f"{base}_of_file" if base.lower() in RESERVED_COLUMNS else base
        taken = {other.lower() for other in names}
        number = sum(
            other == base.lower() or other.startswith(f"{base.lower()}_") for other in taken
        )
        names.append(f"{base}_{number + 1}" if base.lower() in taken else base)
    return () if names == header else tuple(names)


def _is_header(rows: list[list[str]]) -> bool:
    """Return whether the first row has names: mostly not empty, no numbers and no dates."""
    first = [value.strip() for value in rows[0]]
    if sum(map(bool, first)) <= len(first) / 2:
        return False
    is_value = re.compile(r"[-+¥$€]?[\d.,:/ T-]*\d[\d.,:/%Z -]*")
    if any(is_value.fullmatch(value) for value in first):
        return False
    later = [row for row in rows[1:] if len(row) == len(first)]
    repeats = sum(value in {row[at] for row in later} for at, value in enumerate(first))
    return repeats <= len(first) / 4
