"""Records of a text file: their bytes, their lines, and those that cannot be read."""

from dataclasses import dataclass, field

from pipelines.core.arrays import IntArray

LINE_FEED, CARRIAGE_RETURN, QUOTE, COMMA = 10, 13, 34, 44


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
    offsets: IntArray
    """Where each record begins in `data`, and at the end where the last one ends: n + 1."""
    lines: IntArray
    """The physical line of the file on which each record begins, from 1: n."""
    rejected: list[Rejected] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def record(self, index: int) -> bytes:
        """Return the bytes of one record, with its line end."""
        return self.data[self.offsets[index] : self.offsets[index + 1]]
