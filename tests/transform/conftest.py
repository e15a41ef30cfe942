"""Fixtures: one small random market, built once for most tests of the warehouse."""

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.settings import Settings
from pipelines.transform import warehouse
from pipelines.transform.build import publish_marts
from pipelines.transform.dbt_errors import check_results
from pipelines.transform.warehouse import LAYERS
from tests.helpers.lake import Row, write_day, write_matches

FIRST = date(2026, 3, 1)
DAYS = 12
DAY = FIRST + timedelta(days=DAYS - 1)
CHANNELS = ("search", "social")
PRODUCTS = tuple((f"bank-{n // 2}", f"loan-{n}") for n in range(6))


class Market:
    """The rows of every feed by date, and the lake that they are written to."""

    def __init__(self, settings: Settings, last: date):
        self.settings = settings
        self.random = random.Random(7)
        self.days = [FIRST + timedelta(days=n) for n in range((last - FIRST).days + 1)]
        self.rows: dict[date, dict[str, list[Row]]] = {day: {} for day in self.days}
        for day in self.days:
            self._add_day(day)
        for day, feeds in self.rows.items():
            write_day(settings, day, **feeds)

    def add(self, day: date, feed: str, *rows: Row) -> None:
        """Add rows to a partition; rows after the last day are left out."""
        if day in self.rows:
            self.rows[day].setdefault(feed, []).extend(rows)

    def rows_of(self, feed: str) -> list[tuple[date, Row]]:
        """Return every row of a feed with the date on which it became known."""
        return [(day, row) for day in self.days for row in self.rows[day].get(feed, [])]

    def _add_day(self, day: date) -> None:
        for number in range(20):
            lead = {
                "channel_id": self.random.choice(CHANNELS),
                "lead_id": f"{day}-{number:02}",
                "id_number": f"id-{self.random.randrange(400)}",
                "segment": self.random.choice(["consumer", "business"]),
                "income_monthly": 100.0 * self.random.randrange(50),
            }
            self.add(day, "leads", lead)
            for product in self.random.sample(PRODUCTS, 2):
                self._add_outcomes(day, lead, product)
        for channel in CHANNELS:
            spend = {"channel_id": channel, "date": day, "spend": self.random.random() * 100}
            self.add(day, "channel_spend", spend)
        sellers = [f"id-{self.random.randrange(400)}" for _ in range(30)]
        for seller in sellers:
            link = {"buyer_id": f"id-{self.random.randrange(400)}", "seller_id": seller}
            amount, start = self.random.random() * 1000, self.settings.day_start(day)
            self.add(day, "supply_links", link | {
                "month": "2026-02", "amount": amount, "paid_late_share": 0.5, "recorded_at": start,
            })  # fmt: skip
        if day.day % 3 == 1:
            self.add(day, "institutions", *({"institution_id": f"bank-{n}"} for n in range(3)))
            self.add(day, "products", *(
                {"institution_id": bank, "product_id": loan, "price": float(day.day)}
                for bank, loan in PRODUCTS
            ))  # fmt: skip

    def _add_outcomes(self, day: date, lead: Row, product: tuple[str, str]) -> None:
        """Add a decision, sometimes with a correction, sometimes reported days later."""
        recorded = self.settings.day_start(day) + timedelta(hours=self.random.randrange(13, 60))
        for _ in range(self.random.choice([1, 1, 2])):
            event = self.random.choice(["approved", "declined", "funded", "received"])
            outcome = {
                "institution_id": product[0],
                "product_id": product[1],
                "channel_id": lead["channel_id"],
                "lead_id": lead["lead_id"],
                "event": event,
                "recorded_at": recorded,
            }
            late = timedelta(days=self.random.choice([0, 0, 0, 3]))
            self.add(recorded.astimezone(self.settings.zone).date() + late, "outcomes", outcome)
            recorded += timedelta(hours=self.random.randrange(-30, 60))


def build_all(settings: Settings, day: date) -> dict[str, Any]:
    """Build every table as of `day` by one dbt command; publish the marts, return their counts.

    The fixture `built` and `tests/e2e` build a layer at a time, as the tasks do, which costs half
    as much again.
    """
    warehouse._write_typed_files(settings, day)
    options = ("--no-write-json", "--exclude-resource-type=unit_test")
    outcome = warehouse.run_dbt(settings, day, "build", *options)
    check_results(settings, day, LAYERS[-1], outcome)
    warehouse._record_built(settings, day, LAYERS)
    return publish_marts(settings, day)


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """The market as known on its last day, with one match of the day before."""
    market = Market(Settings(home=tmp_path_factory.mktemp("market"), threads=2), DAY)
    lead = market.rows[DAY - timedelta(days=1)]["leads"][0]
    match = {"match_id": "m1", "channel_id": lead["channel_id"], "lead_id": lead["lead_id"]}
    bank = {"institution_id": "bank-0", "product_id": "loan-0"}
    write_matches(market.settings, DAY - timedelta(days=1), [match | bank])
    return market


@pytest.fixture(scope="session")
def built(market: Market) -> dict[str, Any]:
    """The counts of the build of the market, unit tests included."""
    layers = {
        layer: warehouse.build(market.settings, DAY, layer, with_unit_tests=True)
        for layer in LAYERS
    }
    return layers | {"export": publish_marts(market.settings, DAY)}


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings of an empty home."""
    return Settings(home=tmp_path, threads=2)
