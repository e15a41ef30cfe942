"""What came back on the day: open deliveries, receipts, notices, returns and disputes."""

from collections import Counter
from dataclasses import dataclass
from datetime import date

import pyarrow.parquet as pq

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings


@dataclass(frozen=True)
class AnswerCount:
    """A number of receipts, notices or decisions of one kind."""

    kind: str
    name: str
    count: int


@dataclass(frozen=True)
class Settlement:
    """The day's settlement; empty where an earlier version ran the day."""

    is_published: bool = False
    deliveries: int = 0
    """Recent deliveries with leads."""
    open: int = 0
    """Of them, without an accepted receipt."""
    expired: int = 0
    """Of the open ones, past the days that the policy allows."""
    retractions_open: int = 0
    """Recent retraction lists without an accepted receipt."""
    notices_open: int = 0
    notices_overdue: int = 0
    answers: tuple[AnswerCount, ...] = ()


def load_settlement(settings: Settings, day: date) -> Settlement:
    """Return the settlement of `day`.

    Raises:
        InputMissing: The day was not followed up.
    """
    folder = settings.day_folder(settings.settlement, day)
    counts = read_manifest(folder)["delivery_counts"]
    answers: list[AnswerCount] = []
    for kind, stem, column in (
        ("receipts", "receipts", "judgement"),
        ("withdrawal notices", "notices", "kind"),
        ("returns and disputes", "return_decisions", "decision"),
    ):
        table = pq.read_table(folder / f"{stem}.parquet", columns=[column], partitioning=None)
        names = Counter(table[column].to_pylist())
        answers += [AnswerCount(kind, name, number) for name, number in sorted(names.items())]
    return Settlement(is_published=True, answers=tuple(answers), **counts)
