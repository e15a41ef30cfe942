"""How long data of a home is kept, and what is due: by the policy, the lake and the ledger."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from expectations import policy
from expectations.delivery_policy_types import RetentionKind
from pipelines.core.database import connect
from pipelines.core.home.person_ledger import read_ledger
from pipelines.core.settings import Settings

VERB = "retention"
"""Verb of the ledger's entries."""


@dataclass(frozen=True)
class RetentionRow:
    """One kind of data under one jurisdiction, as of a business date."""

    kind: str
    what: str
    jurisdiction: str
    days: int
    source: str
    to_be_read_by_a_lawyer: bool
    removed_through: date | None
    """Last business date whose data of this kind is gone; None: none is yet."""
    oldest: date | None
    """Oldest business date whose data is kept; None: there is none."""
    due: tuple[date, ...]
    """Business dates whose period has ended."""
    overdue: tuple[date, ...]
    """Of them, the ones past the days of grace."""

    @property
    def goes_on(self) -> date | None:
        """Return the date on which the oldest data is due."""
        return self.oldest + timedelta(days=self.days + 1) if self.oldest else None


def load_retention(settings: Settings, day: date) -> list[RetentionRow]:
    """Return what is kept, due and overdue at the end of `day`, by kind and jurisdiction."""
    rules = policy.retention()
    dates = _list_dates(settings, day)
    removed = _list_removed(settings, day)
    return [
        _make_row(kind, jurisdiction, dates[jurisdiction], removed, day)
        for kind in rules.kinds
        if kind.unit == "lead"
        for jurisdiction in sorted(dates)
    ]


def list_currencies(jurisdiction: str) -> list[str]:
    """Return the currencies of a jurisdiction; of `default` the ones of all others."""
    by_currency = policy.retention().jurisdictions
    if jurisdiction == "default":
        return sorted(by_currency)
    return sorted(name for name, place in by_currency.items() if place == jurisdiction)


def _make_row(
    kind: RetentionKind,
    jurisdiction: str,
    dates: set[date],
    removed: dict[tuple[str, str], date],
    day: date,
) -> RetentionRow:
    period = kind.period(jurisdiction)
    through = removed.get((kind.kind, jurisdiction))
    kept = sorted(each for each in dates if through is None or each > through)
    last = day - timedelta(days=period.days + 1)
    grace = timedelta(days=policy.retention().grace_days)
    return RetentionRow(
        kind=kind.kind,
        what=kind.what,
        jurisdiction=jurisdiction,
        days=period.days,
        source=period.source,
        to_be_read_by_a_lawyer=period.to_be_read_by_a_lawyer,
        removed_through=through,
        oldest=kept[0] if kept else None,
        due=tuple(each for each in kept if each <= last),
        overdue=tuple(each for each in kept if each + grace <= last),
    )


def _list_dates(settings: Settings, day: date) -> dict[str, set[date]]:
    """Return jurisdiction -> business dates up to `day` of which the lake has leads under it."""
    files = [
        str(path)
        for path in sorted((settings.lake / "leads").glob("date=*/leads.parquet"))
        if _date_of(path) <= day
    ]
    found: defaultdict[str, set[date]] = defaultdict(set)
    if not files:
        return found
    with connect(settings) as connection:
        rows = connection.execute(
            "select distinct currency, cast(date as date) "
            "from read_parquet($files, hive_partitioning = true, union_by_name = true)",
            {"files": files},
        ).fetchall()
    jurisdictions = policy.retention().jurisdictions
    for currency, each in rows:
        found[jurisdictions.get(currency, "default")].add(each)
    return found


def _list_removed(settings: Settings, day: date) -> dict[tuple[str, str], date]:
    """Return kind and jurisdiction -> last date whose data was removed, as known on `day`."""
    removed: dict[tuple[str, str], date] = {}
    for entry in read_ledger(settings):
        if entry["verb"] == VERB and date.fromisoformat(entry["known_on"]) <= day:
            key = (entry["kind"], entry["jurisdiction"])
            through = date.fromisoformat(entry["through"])
            removed[key] = max(through, removed.get(key, through))
    return removed


def _date_of(path: Path) -> date:
    return date.fromisoformat(path.parent.name.removeprefix("date="))
