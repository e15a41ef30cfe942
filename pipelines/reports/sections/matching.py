"""The day's matching: destinations of leads, matches by institution and channel, deliveries."""

from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import run_query
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.core.translation import text, words
from pipelines.matches.lead_reconciliation import LEAD_KEY, LeadCounts
from pipelines.matches.shadow_price_text import ProductPrices, load_product_prices
from pipelines.transport.records import TransportRecord, read_records

SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True)
class Count:
    """A count under a name, such as unmatched leads by stage."""

    name: str
    count: int
    detail: str = ""


@dataclass(frozen=True)
class InstitutionMatches:
    """Matches of one institution."""

    institution_id: str
    products: int
    matches: int
    quota: int
    expected_value: float
    expected_cost: float
    p_approve: float | None
    pd: float | None


@dataclass(frozen=True)
class ChannelMatches:
    """Leads of one channel and their matches."""

    channel_id: str
    leads: int
    matched: int
    matches: int
    expected_value: float
    cost_per_lead: float | None
    currency: str | None


@dataclass(frozen=True)
class Delivery:
    """The newest delivery to one institution."""

    institution_id: str
    rows: int
    """Leads in its newest file."""
    version: int
    """Greater than 1 after a correction; 0 if nothing could be delivered yet."""
    held_back: int
    message: str
    """Reason why leads were held back; empty if none were."""
    withheld_fields: tuple[str, ...]
    """Columns that the institution requested and may not receive."""
    delivery: str = "folder"
    """How the institution receives its files."""

    transport: str = ""
    """State of its transport: sent, waiting or dead_letter; empty if none was begun."""

    @property
    def is_transported(self) -> bool:
        """Return whether its files are brought to it, and not fetched from the outbox."""
        return self.delivery != "folder"

    @property
    def is_waiting(self) -> bool:
        """Return whether its file is still here."""
        return self.is_transported and self.rows > 0 and self.transport != "sent"


@dataclass(frozen=True)
class InfeasibleFloor:
    """A promised minimum of leads that no plan found can meet."""

    group: str
    promised: int
    attainable: int
    """Most leads that are possible under all other limits."""


@dataclass(frozen=True)
class DaySurplus:
    """Expected surplus of the day's matches by side, fees and order; money in the base currency."""

    person_benefit: float
    institution_margin: float
    """Before fees, which are a transfer to the platform."""
    fees: float
    adjusted_fees: float
    """What comes of these fees, by the actual-to-expected ratio of earlier matches."""
    cost_of_leads: float
    least_fees: float | None
    """Floor on the plan's fees; None: nothing is to be earned."""
    fees_short: float
    price_of_fees: float
    """Value that the last unit of fees costs."""
    leads_with_a_choice: int
    """Leads with more than one offer."""
    steered_by_fee: int
    """The ones whose first offer would be another one if the fee decided the order."""
    cost_of_steering: float
    """What that order would cost these persons, in expectation."""

    @property
    def surplus(self) -> float:
        """Return the value of the matches to persons and institutions together."""
        return self.person_benefit + self.institution_margin


@dataclass(frozen=True)
class Matching:
    """The day's matching: counts, certified gap and how the matches are spread."""

    leads: LeadCounts | None = None
    matches: int | None = None
    gap: float | None = None
    """Certified gap, a fraction of the dual bound."""
    explored: int | None = None
    """Exploration draws among the matches."""
    explored_new_products: int | None = None
    """Exploration draws at products with few decisions."""
    exploration_cost: float | None = None
    """Expected value given up for exploration, in the base currency."""
    day_surplus: DaySurplus | None = None
    policy_version: str | None = None
    funnel: tuple[Count, ...] = ()
    """Pairs that remain after each step, first to last."""
    stages: tuple[Count, ...] = ()
    """Unmatched leads by the last stage that they reached."""
    institutions: tuple[InstitutionMatches, ...] = ()
    channels: tuple[ChannelMatches, ...] = ()
    silent_channels: tuple[str, ...] = ()
    """Channels that sent leads in the 30 days before and none today."""
    deliveries: tuple[Delivery, ...] = ()
    products_open: int | None = None
    products_closed: tuple[Count, ...] = ()
    products_without_decisions: int | None = None
    prices: tuple[ProductPrices, ...] = ()
    """Shadow prices and rule costs of each open product."""
    infeasible_floors: tuple[InfeasibleFloor, ...] = ()
    min_floor_shortfall: int = 0
    """Leads by which every plan misses the floors, at least, all floors together."""
    prefilter_loss: float | None = None
    """Most that unscored pairs can have cost, a share of the best value; None if all are scored."""


def load_summary(settings: Settings, day: date) -> dict[str, Any]:
    """Return the fields of `Matching` that the manifest of the matches states."""
    manifest = read_manifest(settings.day_folder(settings.matches, day))
    return {
        "leads": LeadCounts(**{field.name: manifest[field.name] for field in fields(LeadCounts)}),
        "matches": manifest["matches"],
        "gap": manifest["gap"],
        "explored": manifest["explored"],
        "exploration_cost": manifest["exploration_cost"],
        "day_surplus": _day_surplus(manifest),
        "policy_version": manifest["policy_version"],
        "infeasible_floors": tuple(map(_infeasible_floor, manifest.get("floors_short", []))),
        "min_floor_shortfall": manifest.get("min_shortfall", 0),
        "prefilter_loss": manifest.get("prefilter_loss"),
    }


def _day_surplus(manifest: dict[str, Any]) -> DaySurplus:
    """Return the surplus of the matches, and the floor on fees if the plan has one."""
    no_floor = {"least_fees": None, "fees_short": 0.0, "price_of_fees": 0.0}
    # a manifest of an earlier version took the fees as the models expect them
    stated = no_floor | {"adjusted_fees": manifest["fees"]} | manifest
    return DaySurplus(**{field.name: stated[field.name] for field in fields(DaySurplus)})


def _infeasible_floor(floor: dict[str, Any]) -> InfeasibleFloor:
    owner = "/".join(floor[name] for name in ("institution_id", "product_id") if name in floor)
    group = owner or text(
        "leads with {column} {group}", column=words(floor["column"]), group=floor["group"]
    )
    return InfeasibleFloor(group, floor["promised"], floor["attained"])


def load_prices(settings: Settings, day: date) -> tuple[ProductPrices, ...]:
    """Return shadow prices and rule costs by open product, the most expensive limit first."""
    prices = load_product_prices(
        settings.day_folder(settings.matches, day), settings.day_folder(settings.marts, day)
    )
    return tuple(sorted(prices, key=_by_highest_price))


def _by_highest_price(product: ProductPrices) -> tuple[float, str, str]:
    costs = (product.price_of_quota, *(rule.value for rule in product.rules[:1]))
    return -max(costs), product.institution_id, product.product_id


def load_pairs(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> dict[str, Any]:
    """Return the fields of `Matching` on pairs and products: the funnel, open and closed."""
    folder = settings.day_folder(settings.pairs, day)
    closed = {"closed_products": str(folder / "closed_products.parquet")}
    products = {"products": _mart(settings, day, "products")}
    return {
        "funnel": _funnel(connection, folder / "funnel.parquet"),
        "products_open": read_manifest(folder)["open_products"],
        "products_closed": _counts(connection, "closed_products", closed),
        "products_without_decisions": _number(
            connection, "open_products_without_decisions", products
        ),
    }


def _funnel(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[Count, ...]:
    """Return the pairs that remain after each step, in the order of the table's columns."""
    steps = [name for name in pq.read_schema(path).names if name not in LEAD_KEY]
    sums = ", ".join(f'coalesce(sum("{step}"), 0)::bigint' for step in steps)
    row = connection.execute(f"select {sums} from read_parquet(?)", [str(path)]).fetchall()[0]
    return tuple(Count(step, count) for step, count in zip(steps, row, strict=True))


def count_explored_new_products(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> int:
    """Return the number of exploration draws at products with few decisions."""
    parameters = {
        "matches": _matches(settings, day),
        "products": _mart(settings, day, "products"),
        "few_decisions": policy.exploration().new_product_decisions,
    }
    return _number(connection, "explored_new_products", parameters)


def load_institutions(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[InstitutionMatches, ...]:
    """Return the matches of each institution with an open product or a match, most first."""
    files = {
        "matches": _matches(settings, day),
        "products": _mart(settings, day, "products"),
    }
    rows = run_query(connection, SQL / "matches_by_institution.sql", files).fetchall()
    return tuple(InstitutionMatches(*row) for row in rows)


def load_channels(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[ChannelMatches, ...]:
    """Return the loaded leads of each channel and their matches, most leads first."""
    files = {
        "leads": _mart(settings, day, "leads"),
        "matches": _matches(settings, day),
        "channels": _mart(settings, day, "channels"),
    }
    rows = run_query(connection, SQL / "matches_by_channel.sql", files).fetchall()
    return tuple(ChannelMatches(*row) for row in rows)


def load_silent_channels(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[str, ...]:
    """Return the channels that sent leads in the 30 days before and none today."""
    files = {name: _mart(settings, day, name) for name in ("channels", "leads")}
    rows = run_query(connection, SQL / "silent_channels.sql", files).fetchall()
    return tuple(name for (name,) in rows)


def load_stages(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[Count, ...]:
    """Return the unmatched leads by stage and detail, most first."""
    path = settings.day_folder(settings.unmatched, day) / "unmatched.parquet"
    return _counts(connection, "unmatched_by_stage", {"unmatched": str(path)})


def load_deliveries(settings: Settings, day: date) -> tuple[Delivery, ...]:
    """Return the delivery to every institution that has one for `day`, by institution."""
    manifests = settings.day_folder(settings.outbox, day).glob(f"*/{MANIFEST}")
    records = read_records(settings, day)
    return tuple(
        _delivery(read_manifest(path.parent), records.get(path.parent.name))
        for path in sorted(manifests)
    )


def _delivery(manifest: dict[str, Any], record: TransportRecord | None) -> Delivery:
    return Delivery(
        institution_id=manifest["institution_id"],
        rows=manifest["rows"],
        version=manifest["version"],
        held_back=manifest.get("held_back", 0),
        message=manifest.get("message", ""),
        withheld_fields=tuple(manifest["withheld_fields"]),
        delivery=manifest.get("delivery", "folder"),
        transport=record.state if record else "",
    )


def _counts(
    connection: duckdb.DuckDBPyConnection, query: str, files: dict[str, str]
) -> tuple[Count, ...]:
    rows = run_query(connection, SQL / f"{query}.sql", files).fetchall()
    return tuple(Count(*row) for row in rows)


def _number(connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any]) -> int:
    return int(run_query(connection, SQL / f"{query}.sql", parameters).fetchall()[0][0])


def _matches(settings: Settings, day: date) -> str:
    return str(settings.day_folder(settings.matches, day) / "matches.parquet")


def _mart(settings: Settings, day: date, name: str) -> str:
    return str(settings.day_folder(settings.marts, day) / f"{name}.parquet")
