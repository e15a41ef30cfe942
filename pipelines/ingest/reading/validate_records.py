"""Which records can be read: whole in their quotes, line ends and encoding."""

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, IntArray
from pipelines.ingest.reading.records import CARRIAGE_RETURN, LINE_FEED, Records, Rejected


def sound_records(
    records: Records, values: NDArray[np.uint8], quotes: IntArray, broken: IntArray
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


def _bare_returns(values: NDArray[np.uint8], quotes: IntArray, starts: IntArray) -> IntArray:
    """Return where a carriage return stands outside of quotes with no line feed after it."""
    returns = np.flatnonzero(values[:-1] == CARRIAGE_RETURN)
    bare: IntArray = returns[values[returns + 1] != LINE_FEED]
    if not bare.size or not quotes.size:
        return bare
    start = starts[np.searchsorted(starts, bare, side="right") - 1]
    inside = np.searchsorted(quotes, bare) - np.searchsorted(quotes, start)
    is_outside: BoolArray = inside % 2 == 0
    return bare[is_outside]


def _holds(records: Records, positions: IntArray) -> BoolArray:
    flagged = np.zeros(len(records), bool)
    flagged[np.searchsorted(records.offsets, positions, side="right") - 1] = True
    return flagged


def _undecodable(records: Records, values: NDArray[np.uint8]) -> BoolArray:
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


def _selected(records: Records, is_kept: BoolArray, rejected: list[Rejected]) -> Records:
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
