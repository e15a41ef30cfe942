"""Cut the bytes of a text file into records, by column of bytes and not row by row.

A record is a line, or several where a quoted field holds line breaks. What breaks a quote, an
encoding or a line end costs its own line only: the lines around it stay records.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import FileRefused

LINE_FEED, CARRIAGE_RETURN, QUOTE, COMMA = 10, 13, 34, 44
MOST_BYTES = 1 << 20
"""Longest record: a quote that isn't closed within this many bytes is broken."""
MOST_LINES = 100
"""Most lines of one record, where a chunk has broken quotes and is looked at line by line."""

MOST_WITHOUT_END = 1 << 26
"""Bytes without any end of a record after which a file is taken for something else."""

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Rejected:
    """One record that cannot be read."""

    line: int
    rule: str
    message: str
    received: str


@dataclass
class Records:
    """Whole records, one after the other, each with its line end."""

    data: bytes
    offsets: Positions
    """Where each record begins in `data`, and at the end where the last one ends: n + 1."""
    lines: Positions
    """The physical line of the file on which each record begins, from 1: n."""
    rejected: list[Rejected] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def record(self, index: int) -> bytes:
        """Return the bytes of one record, with its line end."""
        return self.data[self.offsets[index] : self.offsets[index + 1]]


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
            FileRefused: No record ends for very long.
        """
        for chunk in chunks:
            yield self._cut(self._rest + chunk, is_last=False)
            if len(self._rest) > MOST_WITHOUT_END:
                raise FileRefused(
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
        return _sound(Records(data[:used], offsets, lines), values[:used], quotes, broken)

    def _whole(
        self, values: NDArray[np.uint8], quotes: Positions, feeds: Positions, *, is_last: bool
    ) -> tuple[Positions, Positions] | None:
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
        self, values: NDArray[np.uint8], quotes: Positions, ends: Positions, feeds: Positions
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
        self, data: bytes, quotes: Positions, feeds: Positions, *, is_last: bool
    ) -> tuple[Positions, Positions]:
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


def _lines(data: bytes, feeds: Positions, first: int) -> list[str]:
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


def _well_formed(values: NDArray[np.uint8], quotes: Positions) -> bool:
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


def _sound(
    records: Records, values: NDArray[np.uint8], quotes: Positions, broken: Positions
) -> Records:
    """Return `records` without blank lines, and with the unreadable ones rejected."""
    if not len(records):
        return records
    starts, ends = records.offsets[:-1], records.offsets[1:]
    flaws = {
        "quote": (np.isin(starts, broken), "a quote is opened or closed in the wrong place"),
        "line_end": (
            _holds(records, _bare_returns(values, quotes, starts)),
            "a carriage return stands alone outside of quotes; end lines with LF or CRLF",
        ),
        "encoding": (
            _holds(records, np.flatnonzero(values == 0)) | _undecodable(records, values),
            "its bytes are no UTF-8 text; send UTF-8, or import it by a mapping with its encoding",
        ),
    }
    is_blank = (ends == starts + 1) | ((ends == starts + 2) & (values[starts] == CARRIAGE_RETURN))
    is_kept = ~is_blank
    rejected = []
    for rule, (is_flawed, message) in flaws.items():
        for index in np.flatnonzero(is_flawed & is_kept).tolist():
            received = records.record(index).rstrip(b"\r\n").decode("utf-8", "backslashreplace")
            rejected.append(Rejected(int(records.lines[index]), rule, message, received))
        is_kept &= ~is_flawed
    if is_kept.all():
        return records
    return _selected(records, is_kept, rejected)


def _bare_returns(values: NDArray[np.uint8], quotes: Positions, starts: Positions) -> Positions:
    """Return where a carriage return stands outside of quotes with no line feed after it."""
    returns = np.flatnonzero(values[:-1] == CARRIAGE_RETURN)
    bare: Positions = returns[values[returns + 1] != LINE_FEED]
    if not bare.size or not quotes.size:
        return bare
    start = starts[np.searchsorted(starts, bare, side="right") - 1]
    inside = np.searchsorted(quotes, bare) - np.searchsorted(quotes, start)
    is_outside: NDArray[np.bool_] = inside % 2 == 0
    return bare[is_outside]


def _holds(records: Records, positions: Positions) -> NDArray[np.bool_]:
    flagged = np.zeros(len(records), bool)
    flagged[np.searchsorted(records.offsets, positions, side="right") - 1] = True
    return flagged


def _undecodable(records: Records, values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    flagged = np.zeros(len(records), bool)
    try:
        records.data.decode("utf-8")
    except UnicodeDecodeError:
        # Only where something is wrong is each record with a byte above ASCII looked at.
        for index in np.flatnonzero(_holds(records, np.flatnonzero(values > 127))).tolist():  # noqa: PLR2004
            try:
                records.record(index).decode("utf-8")
            except UnicodeDecodeError:
                flagged[index] = True
    return flagged


def _selected(records: Records, is_kept: NDArray[np.bool_], rejected: list[Rejected]) -> Records:
    kept = np.flatnonzero(is_kept)
    lengths = np.diff(records.offsets)[kept]
    # Neighbours are copied in one piece: there are as many pieces as gaps, not as rows.
    breaks = np.flatnonzero(np.diff(kept) > 1) + 1
    pieces = [
        records.data[records.offsets[run[0]] : records.offsets[run[-1] + 1]]
        for run in np.split(kept, breaks)
        if run.size
    ]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Records(b"".join(pieces), offsets, records.lines[kept], rejected)
