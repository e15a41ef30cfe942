"""A simulated market: its channels, lenders and products, and the files that they send each day."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from threading import Lock

import numpy as np
import pyarrow as pa

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.publishing import write_parquet
from pipelines.simulate.corruption.corrupt_feeds import FeedCorruptor
from pipelines.simulate.corruption.corruption_log import FeedFile
from pipelines.simulate.institution_keys import make_identity, write_identity
from pipelines.simulate.market import catalogue
from pipelines.simulate.market.channels import generate_channels
from pipelines.simulate.market.fees import fee_table
from pipelines.simulate.market.leads import DayLeads, generate_leads, lead_numbers_by_channel
from pipelines.simulate.market.lenders import generate_lenders, generate_products
from pipelines.simulate.outcomes.broadcast import (
    SAMPLED_LEADS,
    broadcast,
    channel_spend,
    expected_broadcast_fees,
)
from pipelines.simulate.outcomes.events import simulate_outcomes
from pipelines.simulate.outcomes.ground_truth import PairTruth
from pipelines.simulate.population import firms, people
from pipelines.simulate.prices.calibration import Market, calibrate_prices
from pipelines.simulate.prices.reactions import Bids, load_bids
from pipelines.simulate.world import (
    PLATFORM,
    Columns,
    Item,
    Result,
    TimeArray,
    World,
    lawful_rate,
    map_in_threads,
    split_into_chunks,
)
from pipelines.simulate.write_feeds import format_iso, format_of, format_table, to_arrow

WHOLE_NUMBERS = (
    "term_months",
    "employees",
    "invoices_12m",
    "employment_months",
    *people.BUREAU_COUNTS,
)
"""Columns of leads that hold whole numbers."""
HISTORY_MONTHS = 2
"""Months of supply links that are known when the simulation starts."""


class SimulatedMarket:
    """The sources of one world; each `write_...` method writes the files of one feed."""

    def __init__(self, world: World, corruption: float = 0.0):
        """Generate the market of `world`; `corruption` is the share of `FeedCorruptor`."""
        self.world = world
        self.corruptor = FeedCorruptor(world, corruption)
        self.channels = generate_channels(world)
        self.lenders = generate_lenders(world)
        self.products = generate_products(world, self.lenders)
        self.rows: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self._price_factors: dict[float, float] = {}
        self._counters = Lock()

    def write_day(self, day: date, start: date, until: date | None = None) -> list[pa.Table]:
        """Write every feed of `day` except outcomes.

        Args:
            day: A business date.
            start: The first simulated date: catalogues and history are sent on it.
            until: The day's leads are broadcast, and their outcomes reported up to this date are
                returned; None: no lead is shown.
        """
        outcomes = self.write_leads(day, until)
        self.write_catalogues(day, is_first=day == start)
        self.write_supply_links(day, is_first=day == start)
        self.write_channel_spend(day)
        self._write_truth(self.corruptor.take_log(), f"corruption/{day}-feeds.parquet")
        return outcomes

    def lead_keys(self, leads: DayLeads, lead: IntArray) -> Columns:
        """Return channel id and lead id of the leads at these positions."""
        return {
            "channel_id": self.channels.name[leads.channel[lead]],
            "lead_id": leads.columns["lead_id"][lead],
        }

    def write_leads(self, day: date, until: date | None = None) -> list[pa.Table]:
        """Write one file for each channel, and the truth of its leads; see `write_day`."""
        numbers = lead_numbers_by_channel(self.world, self.channels, day)
        by_channel = self._map_in_threads(
            lambda channel: self._write_channel_leads(channel, numbers[channel], day, until),
            range(self.world.channels),
        )
        outcomes = [tables.pop("outcomes") for tables in by_channel if until]
        for name in by_channel[0]:
            whole = pa.concat_tables([tables[name] for tables in by_channel])
            self._write_truth(whole, f"date={day}/{name}.parquet")
        return outcomes

    def _write_channel_leads(
        self, channel: int, number: IntArray, day: date, until: date | None
    ) -> dict[str, pa.Table]:
        """Write the leads of one channel; return their truth, and their outcomes."""
        file_format, chunks = format_of(channel), []
        for chunk in split_into_chunks(number):
            leads = generate_leads(self.world, self.channels, self.lenders, day, chunk)
            sent = to_arrow(leads.columns, WHOLE_NUMBERS)
            if file_format.startswith("csv"):
                sent = format_table(sent, lambda times: self._format_local(times, day))
            keys = self.lead_keys(leads, np.arange(chunk.size))
            tables = {"sent": sent, "leads": to_arrow(keys | leads.traits)}
            chunks.append(tables | (self._broadcast(leads, until) if until else {}))
        whole = {name: pa.concat_tables([tables[name] for tables in chunks]) for name in chunks[0]}
        channel_id = str(self.channels.name[channel])
        self._write_file("leads", channel_id, day, whole.pop("sent"), file_format)
        return whole

    def _broadcast(self, leads: DayLeads, until: date) -> dict[str, pa.Table]:
        """Return the shown pairs of a broadcast with their truth, and their outcomes."""
        pairs = broadcast(self.world, self.lenders, self.products, leads)
        keys = self.lead_keys(leads, pairs.lead)
        outcomes = self.simulate_outcomes(leads, pairs, leads.captured[pairs.lead], keys)
        truth = keys | vars(pairs) | {"lead": leads.number[pairs.lead]}
        sent = _landed_between(outcomes, date.min, until)
        return {"shown": to_arrow(truth), "outcomes": to_arrow(sent)}

    def write_catalogues(self, day: date, *, is_first: bool) -> None:
        """Write the catalogues published on `day`; on the first day all, and the lists as well."""
        world = self.world
        bids = self.bids_on(day)
        publishes = catalogue.institutions_publishing(world, day) | is_first
        differs = bids.differs(self.bids_on(day - timedelta(days=1)), day)
        publishes[self.products.lender[differs]] = True
        factor = self.price_factor(day) * bids.factor
        products = catalogue.product_table(
            world, self.products, day, factor, bids.left_on, bids.is_open(day)
        )
        tables = {
            "products": products,
            "product_rules": catalogue.rule_table(self.products),
            "product_fees": fee_table(world, self.lenders, self.products, day),
        }

        def write_catalogue(lender: int) -> None:
            for feed, table in tables.items():
                rows = table.filter(pa.array(table["lender"].to_numpy() == lender))
                rows = rows.drop_columns("lender")
                source = str(self.lenders.name[lender])
                self._write_file(feed, source, day, rows, format_of(lender))

        self._map_in_threads(write_catalogue, np.flatnonzero(publishes).tolist())
        if is_first:
            institutions = catalogue.institution_table(self.lenders, self._make_keys())
            self._write_file("institutions", PLATFORM, day, institutions, "csv")
            lists = catalogue.suppression_table(world, self.lenders, day)
            self._write_file("suppressions", PLATFORM, day, lists, "csv.gz")

    def _make_keys(self) -> list[str | None]:
        """Return the public key of each institution that has one, and write the private half."""
        keys: list[str | None] = []
        for name, is_sealed in zip(
            self.lenders.name.tolist(), catalogue.has_key(self.world).tolist(), strict=True
        ):
            identity = make_identity(self.world.seed, name) if is_sealed else None
            if identity:
                write_identity(self.world.settings, name, identity)
            keys.append(f"{identity.to_public()}" if identity else None)
        return keys

    def bids_on(self, day: date) -> Bids:
        """Return what the products bid on `day`; it changes within seasons only."""
        return load_bids(self.world.settings.truth, day, self.products.lender.size)

    def prices_on(self, day: date) -> FloatArray:
        """Return the price of each product on `day`."""
        factor = self.price_factor(day) * self.bids_on(day).factor
        return catalogue.terms_on(self.world, self.products, day, factor)[0]

    def price_factor(self, day: date) -> float:
        """Return the factor on all prices; see `calibrate_prices`."""
        rate = lawful_rate(day)
        if rate not in self._price_factors:
            self._price_factors[rate] = calibrate_prices(self.calibrated_market, day)
        return self._price_factors[rate]

    @property
    def calibrated_market(self) -> Market:
        """The market by which prices are calibrated."""
        base = self.without_shocks
        return Market(base.world, base.channels, base.lenders, base.products)

    def write_supply_links(
        self, day: date, *, is_first: bool, history_months: int = HISTORY_MONTHS
    ) -> None:
        """Write the invoices of last month on the first of a month; at the start the history."""
        back = history_months if is_first else int(day.day == 1)
        months = [firms.month_before(day, number) for number in range(back, 0, -1)]
        chunks = split_into_chunks(np.arange(self.world.firms))
        links = self._map_in_threads(
            lambda part: firms.supply_links(self.world, part[0], day, part[1]),
            [(month, sellers) for month in months for sellers in chunks],
        )
        if links:
            self._write_file("supply_links", PLATFORM, day, pa.concat_tables(links), "parquet")

    def write_channel_spend(self, day: date) -> None:
        """Write what each channel cost: 90% of the fees of a broadcast at the calibrated prices.

        A shock changes the leads of a channel, not their price.
        """
        base = self.without_shocks
        world, lenders, products = base.world, base.lenders, base.products
        number = np.arange(min(SAMPLED_LEADS, world.leads_per_day))
        leads = generate_leads(world, base.channels, lenders, day, number)
        price, quota, is_active = catalogue.terms_on(world, products, day, base.price_factor(day))
        quota = np.where(is_active, quota, 0)
        fees = expected_broadcast_fees(world, lenders, products, leads, price=price, quota=quota)
        spend = channel_spend(world, base.channels, day, fees)
        for channel, name in enumerate(self.channels.name):
            rows = spend.filter(pa.array(spend["channel"].to_numpy() == channel))
            file_format = "csv" if channel % 2 else "jsonl"
            rows = rows.drop_columns("channel")
            self._write_file("channel_spend", str(name), day, rows, file_format)

    @cached_property
    def without_shocks(self) -> "SimulatedMarket":
        """The same market without its shocks."""
        has_shocks = bool(self.world.shocks)
        return SimulatedMarket(replace(self.world, shocks=())) if has_shocks else self

    def simulate_outcomes(
        self, leads: DayLeads, pairs: PairTruth, since: TimeArray, names: Columns
    ) -> Columns:
        """Return the outcomes of shown pairs, with no limit of date; see `simulate_outcomes`."""
        return simulate_outcomes(
            self.world, self.lenders, self.products, leads, pairs, since=since, names=names
        )

    def write_outcomes(
        self,
        outcomes: list[Columns],
        last: date | None,
        *,
        first: date = date.min,
        name: str = "outcomes",
    ) -> None:
        """Write a file `name` for each institution and day on which it reports.

        Args:
            outcomes: Outcomes of several days, see `simulate_outcomes`.
            last: The last day that is written; None: all are.
            first: The first day.
            name: Name of the files, without the format.
        """
        sent = [_landed_between(columns, first, last or date.max) for columns in outcomes]
        self.write_outcome_table(pa.concat_tables([to_arrow(columns) for columns in sent]), name)

    def write_outcome_table(self, table: pa.Table, name: str = "outcomes") -> None:
        """Write a file `name` for each institution and day on which it reports."""
        keys = [key for key in ("match_id", "channel_id", "lead_id") if key in table.column_names]
        order = ["lender", "landed", "recorded_at", *keys, "product_id", "event"]
        table = table.sort_by([(column, "ascending") for column in order])
        lender, landed = table["lender"].to_numpy(), table["landed"].to_numpy()
        is_next_file = (np.diff(lender) != 0) | (np.diff(landed).astype(int) != 0)
        begins = np.flatnonzero(is_next_file) + 1
        table = table.drop_columns(["lender", "landed"])

        def write_report(rows: tuple[int, int]) -> None:
            begin, end = rows
            day, source = landed[begin].astype(date), str(self.lenders.name[lender[begin]])
            file_format = format_of(int(lender[begin]))
            report = table.slice(begin, end - begin)
            self._write_file("outcomes", source, day, report, file_format, name)

        if table.num_rows:
            ends = [0, *begins.tolist(), table.num_rows]
            self._map_in_threads(write_report, list(pairwise(ends)))
        if (log := self.corruptor.take_log()).num_rows:
            self._write_truth(log, f"corruption/{landed.min()}-{name}.parquet")

    def write_truth(self) -> None:
        """Write the fixed truth: channels, lenders and products with their hidden columns."""
        lenders, products = (
            {name: column for name, column in vars(table).items() if column.ndim == 1}
            for table in (self.lenders, self.products)
        )
        product_ids = {"product_id": catalogue.product_ids(self.products)}
        titles = {"title": self.products.name}
        self._write_truth(to_arrow(vars(self.channels)), "channels.parquet")
        self._write_truth(to_arrow(lenders), "lenders.parquet")
        self._write_truth(to_arrow(product_ids | products | titles), "products.parquet")

    def write_day_truth(self, day: date, name: str, columns: Columns) -> None:
        """Write columns of the truth of `day`."""
        self._write_truth(to_arrow(columns), f"date={day}/{name}.parquet")

    def _write_file(
        self, feed: str, source: str, day: date, table: pa.Table, file_format: str, name: str = ""
    ) -> None:
        if table.num_rows:
            file = FeedFile(feed, source, day, name or feed, file_format)
            rows, files = self.corruptor.write(file, table)
            with self._counters:
                self.rows[feed] += rows
                self.files[feed] += files

    def _map_in_threads(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> list[Result]:
        return map_in_threads(self.world.settings.threads, function, items)

    def _write_truth(self, table: pa.Table, name: str) -> None:
        write_parquet(table, self.world.settings.truth / name)

    def _format_local(self, times: pa.ChunkedArray, day: date) -> pa.ChunkedArray:
        start = self.world.settings.day_start(day)
        offset = start.isoformat()[len("2025-03-03T00:00:00") :]
        return format_iso(times, start.utcoffset() or timedelta(), offset)


def _landed_between(outcomes: Columns, first: date, last: date) -> Columns:
    """Return the outcomes that are sent from `first` to `last`."""
    landed = outcomes["landed"]
    is_sent = (landed >= np.datetime64(first)) & (landed <= np.datetime64(last))
    return {name: column[is_sent] for name, column in outcomes.items()}
