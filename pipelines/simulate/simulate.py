"""The `simulate` verb: write the feeds of a simulated market and its ground truth."""

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Any

import pyarrow as pa

from expectations import contracts
from pipelines.core.data_provenance import record_provenance, register_history
from pipelines.core.errors import UsageError
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json
from pipelines.simulate.shocks import Shock
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.world import Contagion, World

SIZE = ("leads_per_day", "institutions", "channels", "seed")
UNSTATED: dict[str, Any] = {"sealed": 0.0, "contagion": str(Contagion.HOP1)}
"""What a home's market is where its file, of an earlier version, does not say."""
WORLD_FILE = "world.json"
"""Size, seed and shocks of a home's market, below `truth/`."""


@dataclass(frozen=True)
class SimulationPlan:
    """A simulated world, and the days to simulate."""

    start: date
    """The first business date."""
    days: int
    """Number of business dates, >= 1."""
    leads_per_day: int
    """Leads of each date, all channels together."""
    institutions: int
    """Number of institutions, each with one to four products."""
    channels: int
    seed: int
    """Another seed is another world."""
    corruption: float = 0.002
    """Share of rows that are corrupted, and of files that each file corruption affects;
    `truth/corruption/` has the log."""
    broadcast_days: int | None = None
    """Number of dates, from the first on, that are matched by broadcast, as before Banyan; None:
    all. Leads of other dates have no outcomes until the world responds to Banyan's deliveries."""
    shocks: tuple[Shock, ...] = ()
    """Changes of the market, each from a date on."""
    sealed: float = 0.0
    """Share of institutions that have a key pair, so that their lead files are encrypted."""
    contagion: Contagion = Contagion.HOP1
    """How far a firm's failure travels up its supply chain; no feed tells it."""

    @property
    def dates(self) -> list[date]:
        """Every business date, in order."""
        return [self.start + timedelta(days=number) for number in range(self.days)]

    @property
    def broadcast_dates(self) -> list[date]:
        """The dates that are matched by broadcast."""
        return self.dates[: self.broadcast_days]

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        shocks = [str(shock) for shock in self.shocks]
        texts = {"start": str(self.start), "shocks": shocks, "contagion": str(self.contagion)}
        return asdict(self) | texts


def simulate(settings: Settings, plan: SimulationPlan) -> dict[str, Any]:
    """Write every feed of a simulated market under `landing/`, and its truth under `truth/`.

    The same plan gives the same bytes on every machine. Outcomes are the ones of a broadcast, the
    allocation before Banyan; outcomes recorded after the last day are not written.

    Args:
        settings: Home, and time zone of business dates.
        plan: The world and its days.

    Returns:
        `start`, `end`, and under `feeds` the `rows` and `files` of each feed.
    """
    market = start_market(settings, plan)
    for day in plan.dates[len(plan.broadcast_dates) :]:
        market.write_day(day, plan.start)
    feeds = {feed: {"rows": market.rows[feed], "files": market.files[feed]} for feed in market.rows}
    return {
        "start": str(plan.start),
        "end": str(plan.dates[-1]),
        "feeds": dict(sorted(feeds.items())),
    }


def start_market(settings: Settings, plan: SimulationPlan) -> SimulatedMarket:
    """Write the fixed truth and the days of broadcast; `SimulatedMarket.write_day` continues.

    Raises:
        UsageError: The home holds another market.
    """
    _check_same_market(settings, plan)
    size = (plan.leads_per_day, plan.institutions, plan.channels, plan.seed)
    world = World(settings, *size, tuple(plan.shocks), plan.sealed, Contagion(plan.contagion))
    market = SimulatedMarket(world, plan.corruption)
    market.write_truth()
    write_json(settings.truth / WORLD_FILE, plan.describe())
    _record_provenance(settings, plan)
    last = plan.dates[-1]
    outcomes = [market.write_day(day, plan.start, last) for day in plan.broadcast_dates]
    if tables := list(chain.from_iterable(outcomes)):
        market.write_outcome_table(pa.concat_tables(tables))
        files = market.corruptor.take_files("outcomes")
        register_history(settings, f"simulate {_format_dates(plan)}", "simulate", files)
    return market


def _check_same_market(settings: Settings, plan: SimulationPlan) -> None:
    """Refuse a second market in one home: its leads and lenders would have the same names."""
    file = settings.truth / WORLD_FILE
    if not file.is_file():
        return
    before, now = UNSTATED | read_json(file), plan.describe()
    differences = [
        f"{name} {before[name]} and not {now[name]}"
        for name in (*SIZE, "corruption", "shocks", *UNSTATED)
        if before[name] != now[name]
    ]
    if differences:
        raise UsageError(
            f"{settings.home} holds another market: {', '.join(differences)} ({file}). Nothing was "
            "written. Simulate the same market, or give another home with --home."
        )


def _format_dates(plan: SimulationPlan) -> str:
    return f"{plan.start} to {plan.dates[-1]}"


def _record_provenance(settings: Settings, plan: SimulationPlan) -> None:
    dates = _format_dates(plan)
    rule = f"Simulated from seed {plan.seed}; no row describes a real person or firm."
    invented = {feed: {"every column": rule} for feed in contracts.feeds()}
    invented["leads"]["id_number, phone, full_name, business_name"] = (
        "Invented. Checksums and number ranges are valid, so a number may by chance be a real one."
    )
    facts = {
        "kind": "simulate",
        "description": "A simulated market of people, firms, channels and institutions.",
        "dates": dates,
        "invented": invented,
    }
    size = {name: value for name, value in plan.describe().items() if name not in ("start", "days")}
    record_provenance(settings, f"simulate {dates}", facts | size)
