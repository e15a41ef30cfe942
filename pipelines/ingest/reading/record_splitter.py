"""Cut the bytes of a text file into records, by column of bytes and not row by row.

A record is a line, or several where a quoted field holds line breaks. What breaks a quote, an
encoding or a line end costs its own line only: the lines around it stay records.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import IntArray
from pipelines.core.errors import FileRejected
from pipelines.ingest.reading.records import CARRIAGE_RETURN, COMMA, LINE_FEED, QUOTE, Records
from pipelines.ingest.reading.validate_records import sound_records

MOST_BYTES = 1 << 20
"""Longest record: a quote that isn't closed within this many bytes is broken."""
MOST_LINES = 100
"""Most lines of one record, where a chunk has broken quotes and is looked at line by line."""

MOST_WITHOUT_END = 1 << 26
"""Bytes without any end of a record after which a file is taken for something else."""


@dataclass
class Cutter:
    """Cuts the chunks of one file, handed in order.

    Attributes:
        quoted: Whether a quoted field may hold line breaks (CSV), or a record is a line.
    """

    quoted: bool
    _width: int = 0
    _rest: bytes = b""
    _line: int = 1

    def cut(self, chunks: Iterable[bytes]) -> Iterator[Records]:
        """Yield the records of each chunk; blank lines are none.

        Raises:
            FileRejected: No record ends for very long.
        """
        for chunk in chunks:
            yield self._cut(self._rest + chunk, is_last=False)
            if len(self._rest) > MOST_WITHOUT_END:
                raise FileRejected(
                    "line_end", f"line {self._line} does not end within {MOST_WITHOUT_END:,} bytes"
                )
        if self._rest:
            end = b"" if self._rest.endswith(b"\n") else b"\n"
            yield self._cut(self._rest + end, is_last=True)

    def _cut(self, data: bytes, *, is_last: bool) -> Records:
        values = np.frombuffer(data, np.uint8)
        feeds = np.flatnonzero(values == LINE_FEED)
        quotes = np.flatnonzero(values == QUOTE) if self.quoted else feeds[:0]
        ends, broken = feeds + 1, feeds[:0]
        if quotes.size and feeds.size:
            self._width = self._width or _fields(_lines(data, feeds, 0))
            found = self._whole(values, quotes, feeds, is_last=is_last)
            ends, broken = found or self._line_by_line(data, quotes, feeds, is_last=is_last)
        used = int(ends[-1]) if ends.size else 0
        self._rest = data[used:]
        starts = np.concatenate(([0], ends[:-1])) if ends.size else ends
        lines = self._line + np.searchsorted(feeds, starts)
        self._line += int(np.searchsorted(feeds, used))
        offsets = np.append(starts, used).astype(np.int64)
        return sound_records(Records(data[:used], offsets, lines), values[:used], quotes, broken)

    def _whole(
        self, values: NDArray[np.uint8], quotes: IntArray, feeds: IntArray, *, is_last: bool
    ) -> tuple[IntArray, IntArray] | None:
        """Return where records end if every quote stands as RFC 4180 says; else nothing."""
        if not _well_formed(values, quotes):
            return None
        is_end = np.searchsorted(quotes, feeds) % 2 == 0
        ends = feeds[is_end] + 1
        used = int(ends[-1]) if ends.size else 0
        if values.size - used > (0 if is_last else MOST_BYTES):
            return None
        if not is_end[: np.searchsorted(feeds, used)].all() and not self._fits(
            values[:used], quotes, ends, np.searchsorted(feeds, ends)
        ):
            return None
        return ends, ends[:0]

    def _fits(
        self, values: NDArray[np.uint8], quotes: IntArray, ends: IntArray, feeds: IntArray
    ) -> bool:
        """Return whether each record of several lines has as many fields as the header.

        Two broken quotes can enclose whole lines; the number of fields gives them away.
        """
        commas = np.flatnonzero(values == COMMA)
        outside = commas[np.searchsorted(quotes, commas) % 2 == 0]
        fields = np.diff(np.searchsorted(outside, ends), prepend=0) + 1
        has_several = np.diff(feeds, prepend=0) > 1
        return not self._width or bool((fields[has_several] == self._width).all())

    def _line_by_line(
        self, data: bytes, quotes: IntArray, feeds: IntArray, *, is_last: bool
    ) -> tuple[IntArray, IntArray]:
        """Return where records end, and the starts of those with a broken quote."""
        ends = feeds + 1
        starts = np.concatenate(([0], ends[:-1]))
        has_quote = np.searchsorted(quotes, ends) > np.searchsorted(quotes, starts)
        is_end = np.ones(ends.size, bool)
        broken: list[int] = []
        resume, stop = 0, ends.size
        for line in np.flatnonzero(has_quote).tolist():
            if line < resume:
                continue
            several = _lines(data, feeds, line)
            if taken := self._lines_of_record(several):
                is_end[line : line + taken - 1] = False
                resume = line + taken
            elif (
                not is_last and len(several) < MOST_LINES and len(data) - starts[line] < MOST_BYTES
            ):
                stop = line  # the quote may be closed in the next chunk
                break
            else:
                broken.append(int(starts[line]))
        return ends[:stop][is_end[:stop]], np.array(broken, np.int64)

    def _lines_of_record(self, lines: list[str]) -> int:
        """Return how many of `lines` the first record takes; 0 where its quote is broken."""
        reader = csv.reader(iter(lines), strict=True)
        try:
            fields = next(reader)
        except csv.Error:
            return 0
        return (
            reader.line_num
            if reader.line_num == 1 or len(fields) == (self._width or len(fields))
            else 0
        )


def _lines(data: bytes, feeds: IntArray, first: int) -> list[str]:
    """Return some lines from the line `first` on; Latin-1 keeps each byte one character."""
    start = int(feeds[first - 1]) + 1 if first else 0
    end = int(feeds[min(first + MOST_LINES, feeds.size) - 1]) + 1
    return [f"{line}\n" for line in data[start : end - 1].decode("latin-1").split("\n")]


def _fields(lines: list[str]) -> int:
    """Return how many fields the first record of `lines` has; 0 where it isn't whole."""
    try:
        return len(next(csv.reader(lines, strict=True)))
    except csv.Error:
        return 0


def _well_formed(values: NDArray[np.uint8], quotes: IntArray) -> bool:
    """Return whether opening quotes follow a comma or line, and closing ones come before one.

    Quotes are counted from a record's start, so the 1st, 3rd, ... opens (or is the second of a
    doubled one) and the 2nd, 4th, ... closes (or is the first of a doubled one).
    """
    is_doubled = np.diff(quotes) == 1
    opening, closing = quotes[0::2], quotes[1::2]
    before = values[opening - 1]
    opens = (before == COMMA) | (before == LINE_FEED) | (opening == 0)
    opens[1:] |= is_doubled[1::2]
    after = values[np.minimum(closing + 1, values.size - 1)]
    closes = (after == COMMA) | (after == LINE_FEED) | (after == CARRIAGE_RETURN)
    closes |= closing == values.size - 1
    closes[: is_doubled[1::2].size] |= is_doubled[1::2]
    return bool(opens.all() and closes.all())
