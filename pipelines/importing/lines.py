"""On which physical line each record of a text file begins."""

from pathlib import Path

import numpy as np

from pipelines.core.arrays import IntArray

NEWLINE, RETURN, QUOTE = b'\n\r"'


def record_lines(path: Path, *, offset: int, first_line: int, quoted: bool) -> IntArray:
    """Return the line on which each record begins, shape (records,), blank lines left out.

    Args:
        path: A file in UTF-8 with lines ending in LF or CRLF.
        offset: Bytes before the first record.
        first_line: Line number of the first record.
        quoted: Whether a line break between double quotes belongs to the record (RFC 4180).
    """
    if path.stat().st_size <= offset:
        return np.empty(0, np.int64)
    content = np.memmap(path, np.uint8, "r")[offset:]
    breaks = np.flatnonzero(content == NEWLINE)
    ends = breaks
    if quoted:
        quotes_before = np.searchsorted(np.flatnonzero(content == QUOTE), breaks)
        ends = breaks[quotes_before % 2 == 0]
    starts = np.concatenate(([0], ends + 1))
    ends = np.concatenate((ends, [content.size]))
    lengths = ends - starts
    only_return = (lengths == 1) & (content[np.minimum(starts, content.size - 1)] == RETURN)
    starts = starts[(lengths > 0) & ~only_return]
    return np.asarray(np.searchsorted(breaks, starts) + first_line, np.int64)
