"""The `simulate` verb."""

from datetime import date, timedelta
from typing import Any

from expectations import contracts
from pipelines import origins
from pipelines.publish import write_json
from pipelines.settings import Settings
from pipelines.simulate.market import Market
from pipelines.simulate.world import World


def simulate(  # noqa: PLR0913 - the options of the verb
    settings: Settings,
    start: date,
    days: int,
    leads_per_day: int,
    institutions: int,
    channels: int,
    seed: int,
    *,
    dirt: float = 0.002,
) -> dict[str, Any]:
    """Write every feed of a simulated market under `landing/`, and its truth under `truth/`.

    The same arguments give the same bytes on every machine. Outcomes are those of a broadcast
    matching, the way leads were spread before Banyan; what is recorded after the last day is not
    written.

    Args:
        settings: Says where the home is, and the time zone of business dates.
        start: The first business date.
        days: How many, >= 1.
        leads_per_day: Leads on each of them, all channels together.
        institutions: How many, each with one to three products.
        channels: How many.
        seed: Another seed is another world.
        dirt: Share of lead rows that are broken; `truth/` says which, and how.

    Returns:
        `start`, `end`, and under `feeds` the `rows` and `files` of each feed.
    """
    market = Market(World(settings, leads_per_day, institutions, channels, seed))
    dates = [start + timedelta(days=number) for number in range(days)]
    outcomes = []
    for day in dates:
        asked, pairs = market.ask(day)
        market.land_leads(asked, dirt)
        market.land_catalogue(day, is_first=day == start)
        market.land_supply(day, is_first=day == start)
        market.land_spend(day, start)
        outcomes.append(market.report(asked, pairs))
    market.land_outcomes(outcomes, dates[-1])
    market.keep_truth()
    size = {
        "leads_per_day": leads_per_day,
        "institutions": institutions,
        "channels": channels,
        "seed": seed,
        "dirt": dirt,
    }
    write_json(settings.truth / "world.json", size | {"start": str(start), "days": days})
    _record(settings, f"{start} to {dates[-1]}", size)
    feeds = {feed: {"rows": market.rows[feed], "files": market.files[feed]} for feed in market.rows}
    return {"start": str(start), "end": str(dates[-1]), "feeds": dict(sorted(feeds.items()))}


def _record(settings: Settings, dates: str, size: dict[str, Any]) -> None:
    rule = f"Simulated from seed {size['seed']}; no row is about anyone."
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
    origins.record(settings, f"simulate {dates}", facts | size)
