"""Which days are looked at, and with which days before them they are compared."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from expectations import policy
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings


@dataclass(frozen=True)
class Window:
    """Dates whose partitions are published, in order: the reference, and those looked at."""

    reference: tuple[date, ...]
    current: tuple[date, ...]

    @property
    def days(self) -> tuple[date, ...]:
        """Return all dates, in order."""
        return self.reference + self.current

    @property
    def has_reference(self) -> bool:
        """Return whether there are enough days to know how much days differ by themselves."""
        return bool(self.current) and len(self.reference) >= policy.drift().least_reference_days


def window(settings: Settings, root: Path, day: date) -> Window:
    """Return the window of `day` over the partitions of `root` that are published.

    Only `day` and dates before it count, so a day that is computed again finds the same.
    """
    rules = policy.drift()
    first = day - timedelta(days=rules.current_days - 1)
    found = [
        some_day
        for back in reversed(range(rules.current_days + rules.reference_days))
        if (settings.day_folder(root, some_day := day - timedelta(days=back)) / MANIFEST).is_file()
    ]
    return Window(
        reference=tuple(some_day for some_day in found if some_day < first),
        current=tuple(some_day for some_day in found if some_day >= first),
    )
