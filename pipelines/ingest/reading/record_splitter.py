"""Split the bytes of a text file into records, vectorised over the bytes of a chunk.

A record is a line, or several lines where a quoted field holds line breaks. A broken quote, byte
sequence or line end rejects its own line only; the lines around it stay records.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.errors import FileRejected
from pipelines.ingest.reading.records import Records, RejectedRecord

ByteArray = NDArray[np.uint8]
LINE_FEED, CARRIAGE_RETURN, QUOTE = 10, 13, 34
LAST_ASCII = 127

MAX_RECORD_BYTES = 1 << 20
"""Longest record: a quote that isn't closed within this many bytes is broken."""
MAX_RECORD_LINES = 100
"""Most lines of one record, where a chunk has broken quotes and is split line by line."""
MAX_BYTES_WITHOUT_END = 1 << 26
"""Bytes without the end of a record after which a file is rejected as no text file."""


@dataclass
class RecordSplitter:
    """Splits the chunks of one file, in their order.

    Attributes:
        quoted: True if a quoted field may hold line breaks (CSV); else each line is a record.
        delimiter: What separates the fields of a record, one ASCII character.
        line: The physical line of the file on which the first chunk begins.
    """

    quoted: bool
    delimiter: str = ","
    line: int = 1
    unterminated_line: int | None = None
    """The line of the last record, once it is yielded, if it has no line end: it may be cut."""
    unended_line: int | None = None
    """The same, also where the record ends with a quote."""
    _field_count: int = 0
    _rest: bytes = b""
    _last_line: int | None = None

    def split(self, chunks: Iterable[bytes]) -> Iterator[Records]:
        """Yield the records of each chunk, without blank lines.

        Raises:
            FileRejected: A record does not end within `MAX_BYTES_WITHOUT_END`.
        """
        for chunk in chunks:
            yield self._split_chunk(self._rest + chunk, is_last=False)
            if len(self._rest) > MAX_BYTES_WITHOUT_END:
                raise FileRejected(
                    "line_end",
                    f"line {self.line} does not end within {MAX_BYTES_WITHOUT_END:,} bytes",
                )
        if self._rest:
            end = b"" if self._rest.endswith(b"\n") else b"\n"
            # A closing quote ends the last field, a brace the object, a carriage return the line.
            ends = (b'"', b"\r") if self.quoted else (b"}", b"\r")
            is_unterminated = end and not self._rest.rstrip(b" ").endswith(ends)
            records = self._split_chunk(self._rest + end, is_last=True)
            self.unterminated_line = self._last_line if is_unterminated else None
            self.unended_line = self._last_line if end else None
            yield records

    def _split_chunk(self, data: bytes, *, is_last: bool) -> Records:
        values = np.frombuffer(data, np.uint8)
        line_feeds = np.flatnonzero(values == LINE_FEED)
        quotes = np.flatnonzero(values == QUOTE) if self.quoted else line_feeds[:0]
        ends, broken = line_feeds + 1, line_feeds[:0]
        if quotes.size and line_feeds.size:
            self._field_count = self._field_count or self._count_fields(
                _decode_lines(data, line_feeds, 0)
            )
            by_parity = self._split_by_parity(values, quotes, line_feeds, is_last=is_last)
            ends, broken = by_parity or self._split_by_line(
                data, quotes, line_feeds, is_last=is_last
            )
        used = int(ends[-1]) if ends.size else 0
        self._rest = data[used:]
        starts = np.concatenate(([0], ends[:-1])) if ends.size else ends
        lines = self.line + np.searchsorted(line_feeds, starts)
        self.line += int(np.searchsorted(line_feeds, used))
        self._last_line = int(lines[-1]) if lines.size else None
        offsets = np.append(starts, used).astype(np.int64)
        records = Records(data[:used], offsets, lines)
        return _reject_unreadable(records, values[:used], quotes, broken)

    def _split_by_parity(
        self, values: ByteArray, quotes: IntArray, line_feeds: IntArray, *, is_last: bool
    ) -> tuple[IntArray, IntArray] | None:
        """Return the ends of records if every quote is where RFC 4180 allows it; else None.

        A line feed ends a record where an even number of quotes precedes it.
        """
        if not self._is_well_formed(values, quotes):
            return None
        is_end = np.searchsorted(quotes, line_feeds) % 2 == 0
        ends = line_feeds[is_end] + 1
        used = int(ends[-1]) if ends.size else 0
        if values.size - used > (0 if is_last else MAX_RECORD_BYTES):
            return None
        if not is_end[: np.searchsorted(line_feeds, used)].all() and not self._fits_header(
            values[:used], quotes, ends, np.searchsorted(line_feeds, ends)
        ):
            return None
        return ends, ends[:0]

    def _is_well_formed(self, values: ByteArray, quotes: IntArray) -> bool:
        """Return whether quotes open after, and close before, a delimiter or a line end.

        Counted from the start of a record, the 1st, 3rd, ... quote opens a field (or is the
        second of a doubled one) and the 2nd, 4th, ... closes it (or is the first of a doubled
        one).
        """
        delimiter = ord(self.delimiter)
        is_doubled = np.diff(quotes) == 1
        opening, closing = quotes[0::2], quotes[1::2]
        before = values[opening - 1]
        opens = (before == delimiter) | (before == LINE_FEED) | (opening == 0)
        opens[1:] |= is_doubled[1::2]
        after = values[np.minimum(closing + 1, values.size - 1)]
        closes = (after == delimiter) | (after == LINE_FEED) | (after == CARRIAGE_RETURN)
        closes |= closing == values.size - 1
        closes[: is_doubled[1::2].size] |= is_doubled[1::2]
        return bool(opens.all() and closes.all())

    def _fits_header(
        self, values: ByteArray, quotes: IntArray, ends: IntArray, line_feeds: IntArray
    ) -> bool:
        """Return whether each record of several lines has as many fields as the header.

        Two broken quotes can enclose whole lines; the number of fields reveals them.
        """
        delimiters = np.flatnonzero(values == ord(self.delimiter))
        outside = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        fields = np.diff(np.searchsorted(outside, ends), prepend=0) + 1
        has_several_lines = np.diff(line_feeds, prepend=0) > 1
        return not self._field_count or bool((fields[has_several_lines] == self._field_count).all())

    def _split_by_line(
        self, data: bytes, quotes: IntArray, line_feeds: IntArray, *, is_last: bool
    ) -> tuple[IntArray, IntArray]:
        """Return the ends of records, and the starts of the records with a broken quote."""
        ends = line_feeds + 1
        starts = np.concatenate(([0], ends[:-1]))
        has_quote = np.searchsorted(quotes, ends) > np.searchsorted(quotes, starts)
        is_end = np.ones(ends.size, bool)
        broken: list[int] = []
        next_line, stop = 0, ends.size
        for line in np.flatnonzero(has_quote).tolist():
            if line < next_line:
                continue
            lines = _decode_lines(data, line_feeds, line)
            if taken := self._count_record_lines(lines):
                is_end[line : line + taken - 1] = False
                next_line = line + taken
            elif (
                not is_last
                and len(lines) < MAX_RECORD_LINES
                and len(data) - starts[line] < MAX_RECORD_BYTES
            ):
                stop = line  # the next chunk may close the quote
                break
            else:
                broken.append(int(starts[line]))
        return ends[:stop][is_end[:stop]], np.array(broken, np.int64)

    def _count_record_lines(self, lines: list[str]) -> int:
        """Return how many of `lines` the first record has; 0 where its quote is broken."""
        reader = csv.reader(iter(lines), delimiter=self.delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error:
            return 0
        fits_header = len(fields) == (self._field_count or len(fields))
        return reader.line_num if reader.line_num == 1 or fits_header else 0

    def _count_fields(self, lines: list[str]) -> int:
        """Return the number of fields of the first record of `lines`; 0 where it is incomplete."""
        try:
            return len(next(csv.reader(lines, delimiter=self.delimiter, strict=True)))
        except csv.Error:
            return 0


def _decode_lines(data: bytes, line_feeds: IntArray, first: int) -> list[str]:
    """Return up to `MAX_RECORD_LINES` lines from `first` on; Latin-1 maps byte to character."""
    start = int(line_feeds[first - 1]) + 1 if first else 0
    end = int(line_feeds[min(first + MAX_RECORD_LINES, line_feeds.size) - 1]) + 1
    return [f"{line}\n" for line in data[start : end - 1].decode("latin-1").split("\n")]


def _reject_unreadable(
    records: Records, values: ByteArray, quotes: IntArray, broken: IntArray
) -> Records:
    """Return `records` without blank lines; records with a broken quote, line end or byte rejected.

    Args:
        records: All records of a chunk.
        values: Their bytes.
        quotes: Positions of the quotes among them.
        broken: Starts of the records with a broken quote.
    """
    if not len(records):
        return records
    starts, ends = records.offsets[:-1], records.offsets[1:]
    defects = {
        "quote": (np.isin(starts, broken), "a quote is opened or closed in the wrong place"),
        "line_end": (
            _flag_records(records, _find_bare_returns(values, quotes, starts)),
            "a carriage return without a line feed is outside of quotes; end lines with LF or CRLF",
        ),
        "encoding": (
            _flag_records(records, np.flatnonzero(values == 0)) | _flag_invalid(records, values),
            "its bytes are no UTF-8 text; send UTF-8, or import it by a mapping with its encoding",
        ),
    }
    is_blank = (ends == starts + 1) | ((ends == starts + 2) & (values[starts] == CARRIAGE_RETURN))
    is_readable = ~is_blank
    rejected = []
    for rule, (is_defective, message) in defects.items():
        for index in np.flatnonzero(is_defective & is_readable).tolist():
            received = records.record(index).rstrip(b"\r\n").decode("utf-8", "backslashreplace")
            rejected.append(RejectedRecord(int(records.lines[index]), rule, message, received))
        is_readable &= ~is_defective
    if is_readable.all():
        return records
    return _select(records, is_readable, rejected)


def _find_bare_returns(values: ByteArray, quotes: IntArray, starts: IntArray) -> IntArray:
    """Return the positions of carriage returns outside of quotes that no line feed follows."""
    returns = np.flatnonzero(values[:-1] == CARRIAGE_RETURN)
    bare: IntArray = returns[values[returns + 1] != LINE_FEED]
    if not bare.size or not quotes.size:
        return bare
    start = starts[np.searchsorted(starts, bare, side="right") - 1]
    quotes_before = np.searchsorted(quotes, bare) - np.searchsorted(quotes, start)
    is_outside: BoolArray = quotes_before % 2 == 0
    return bare[is_outside]


def _flag_records(records: Records, positions: IntArray) -> BoolArray:
    """Return of each record whether one of `positions` is within it."""
    flagged = np.zeros(len(records), bool)
    flagged[np.searchsorted(records.offsets, positions, side="right") - 1] = True
    return flagged


def _flag_invalid(records: Records, values: ByteArray) -> BoolArray:
    """Return of each record whether its bytes are no UTF-8."""
    flagged = np.zeros(len(records), bool)
    try:
        records.data.decode("utf-8")
    except UnicodeDecodeError:
        # Records are decoded one by one only if the chunk is invalid, and only the non-ASCII ones.
        has_non_ascii = _flag_records(records, np.flatnonzero(values > LAST_ASCII))
        for index in np.flatnonzero(has_non_ascii).tolist():
            try:
                records.record(index).decode("utf-8")
            except UnicodeDecodeError:
                flagged[index] = True
    return flagged


def _select(records: Records, is_selected: BoolArray, rejected: list[RejectedRecord]) -> Records:
    selected = np.flatnonzero(is_selected)
    lengths = np.diff(records.offsets)[selected]
    # Neighbours are copied in one piece: as many copies as gaps, not as rows.
    breaks = np.flatnonzero(np.diff(selected) > 1) + 1
    pieces = [
        records.data[records.offsets[run[0]] : records.offsets[run[-1] + 1]]
        for run in np.split(selected, breaks)
        if run.size
    ]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Records(b"".join(pieces), offsets, records.lines[selected], rejected)
