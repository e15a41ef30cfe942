"""The `simulate` verb."""

import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Any

import pyarrow as pa

from expectations import contracts
from pipelines.core.data_provenance import record_provenance
from pipelines.core.errors import UsageError
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.simulate.shocks import Shock
from pipelines.simulate.simulator import Market
from pipelines.simulate.world import World


@dataclass(frozen=True)
class Plan:
    """Which world is simulated, and which of its days."""

    start: date
    """The first business date."""
    days: int
    """How many, >= 1."""
    leads_per_day: int
    """Leads on each of them, all channels together."""
    institutions: int
    """How many, each with one to three products."""
    channels: int
    seed: int
    """Another seed is another world."""
    dirt: float = 0.002
    """Share of rows that are broken, and of files that each kind of damage befalls;
    `truth/dirt/` says which, and how."""
    broadcast_days: int | None = None
    """The first so many dates are matched by broadcast, as before Banyan; None: all are. Leads of
    the others have no outcomes until the world answers what Banyan delivers."""
    shocks: tuple[Shock, ...] = ()
    """What changes in it, and when."""

    @property
    def dates(self) -> list[date]:
        """Every business date, in order."""
        return [self.start + timedelta(days=number) for number in range(self.days)]

    @property
    def broadcast_dates(self) -> list[date]:
        """The dates that are matched by broadcast."""
        return self.dates[: self.broadcast_days]


def simulate(settings: Settings, plan: Plan) -> dict[str, Any]:
    """Write every feed of a simulated market under `landing/`, and its truth under `truth/`.

    The same plan gives the same bytes on every machine. Outcomes are those of a broadcast
    matching, the way leads were spread before Banyan; what is recorded after the last day is not
    written.

    Args:
        settings: Says where the home is, and the time zone of business dates.
        plan: Which world, and which of its days.

    Returns:
        `start`, `end`, and under `feeds` the `rows` and `files` of each feed.
    """
    market = begin(settings, plan)
    for day in plan.dates[len(plan.broadcast_dates) :]:
        market.send(day, plan.start)
    feeds = {feed: {"rows": market.rows[feed], "files": market.files[feed]} for feed in market.rows}
    return {
        "start": str(plan.start),
        "end": str(plan.dates[-1]),
        "feeds": dict(sorted(feeds.items())),
    }


def begin(settings: Settings, plan: Plan) -> Market:
    """Keep what the world is made of and write the days of broadcast; `Market.send` goes on.

    Raises:
        UsageError: The home holds another market.
    """
    _must_be_the_same(settings, plan)
    market = Market(
        World(
            settings,
            plan.leads_per_day,
            plan.institutions,
            plan.channels,
            plan.seed,
            tuple(plan.shocks),
        ),
        plan.dirt,
    )
    market.keep_truth()
    write_json(settings.truth / "world.json", _told(plan))
    _record(settings, plan)
    last = plan.dates[-1]
    sent = (market.send(day, plan.start, last) for day in plan.broadcast_dates)
    if outcomes := list(chain.from_iterable(sent)):
        market.land_reported(pa.concat_tables(outcomes))
    return market


def _must_be_the_same(settings: Settings, plan: Plan) -> None:
    """A home holds one market: another's leads and lenders would bear the same names."""
    file = settings.truth / "world.json"
    if not file.is_file():
        return
    before, now = json.loads(file.read_text("utf-8")), _told(plan)
    differs = [
        f"{name} {before[name]} and not {now[name]}"
        for name in ("seed", "leads_per_day", "institutions", "channels", "dirt", "shocks")
        if before[name] != now[name]
    ]
    if differs:
        raise UsageError(
            f"{settings.home} holds another market: {', '.join(differs)} ({file}). Nothing was "
            "written. Ask for the same one, or say another home by --home."
        )


def _record(settings: Settings, plan: Plan) -> None:
    dates = f"{plan.start} to {plan.dates[-1]}"
    rule = f"Simulated from seed {plan.seed}; no row is about anyone."
    invented = {feed: {"every column": rule} for feed in contracts.feeds()}
    invented["leads"]["id_number, phone, full_name, business_name"] = (
        "Made up. Checksums and number ranges are right, so a number may by chance be someone's."
    )
    facts = {
        "kind": "simulate",
        "description": "A simulated market of people, firms, channels and institutions.",
        "dates": dates,
        "invented": invented,
    }
    size = {name: value for name, value in _told(plan).items() if name not in ("start", "days")}
    record_provenance(settings, f"simulate {dates}", facts | size)


def _told(plan: Plan) -> dict[str, Any]:
    shocks = [str(shock) for shock in plan.shocks]
    return asdict(plan) | {"start": str(plan.start), "shocks": shocks}
