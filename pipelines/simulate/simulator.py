"""A simulated market writes what its sources send, day by day."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.arrays import IntArray
from pipelines.core.publishing import write_parquet
from pipelines.simulate.corruption.corrupt_feeds import Dirt
from pipelines.simulate.corruption.corruption_log import Sending
from pipelines.simulate.market import catalogue
from pipelines.simulate.market.channels import all_channels
from pipelines.simulate.market.lenders import all_lenders, all_products
from pipelines.simulate.market.requests import Requests, by_channel, requests
from pipelines.simulate.market.suppressions import suppressions
from pipelines.simulate.outcomes.channel_spend import JUDGED, spend, worth
from pipelines.simulate.outcomes.events import reported
from pipelines.simulate.outcomes.ground_truth import Shown, shown
from pipelines.simulate.parallel_chunks import Item, Result, in_threads, parts
from pipelines.simulate.population import firms
from pipelines.simulate.world import PLATFORM, Columns, Moments, World
from pipelines.simulate.write_feeds import as_text, format_of, iso, to_arrow

WHOLE = ("term_months", "employees", "invoices_12m")
"""Columns of leads that hold whole numbers."""
HISTORY_MONTHS = 2
"""Months of supply links that are known when the simulation starts."""


class Market:
    """The sources of one world; each method writes the files of one feed."""

    def __init__(self, world: World, dirt: float = 0.0):
        """Take the world, and the share of dirt in its files; see `Dirt`."""
        self.world = world
        self.dirt = Dirt(world, dirt)
        self.channels = all_channels(world)
        self.lenders = all_lenders(world)
        self.products = all_products(world, self.lenders)
        self.rows: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self._counting = Lock()

    def send(self, day: date, start: date, until: date | None = None) -> list[pa.Table]:
        """Write every feed of `day` but outcomes.

        Args:
            day: A business date.
            start: The first one that is simulated: catalogues and history come with it.
            until: The day's leads are spread the way it was done before Banyan, and what is
                reported of them up to this date is returned; without it nobody is shown to anyone.
        """
        outcomes = self.land_leads(day, until)
        self.land_catalogue(day, is_first=day == start)
        self.land_supply(day, is_first=day == start)
        self.land_spend(day)
        self._keep(self.dirt.key(), f"dirt/{day}-feeds.parquet")
        return outcomes

    def keys_of(self, asked: Requests, lead: IntArray) -> Columns:
        """Return the channel's and the lead's id of leads at these positions."""
        return {
            "channel_id": self.channels.name[asked.channel[lead]],
            "lead_id": asked.columns["lead_id"][lead],
        }

    def land_leads(self, day: date, until: date | None = None) -> list[pa.Table]:
        """Write a file for each channel, and keep the truth of its leads; see `send`."""
        numbers = by_channel(self.world, self.channels, day)
        sent = self._in_threads(
            lambda channel: self._land_channel(channel, numbers[channel], day, until),
            range(self.world.channels),
        )
        outcomes = [true.pop("outcomes") for true in sent if until]
        for name in sent[0]:
            self._keep(
                pa.concat_tables([true[name] for true in sent]), f"date={day}/{name}.parquet"
            )
        return outcomes

    def _land_channel(
        self, channel: int, number: IntArray, day: date, until: date | None
    ) -> dict[str, pa.Table]:
        """Write the leads of one channel; return what is true of them."""
        form, found = format_of(channel), []
        for part in parts(number):
            asked = requests(self.world, self.channels, self.lenders, day, part)
            sent = to_arrow(asked.columns, WHOLE)
            if form.startswith("csv"):
                sent = as_text(sent, lambda moments: self._local(moments, day))
            position = np.arange(part.size)
            true = {"leads": to_arrow(self.keys_of(asked, position) | asked.who)}
            found.append({"sent": sent} | true | (self._broadcast(asked, until) if until else {}))
        whole = {name: pa.concat_tables([each[name] for each in found]) for name in found[0]}
        self._land("leads", str(self.channels.name[channel]), day, whole.pop("sent"), form)
        return whole

    def _broadcast(self, asked: Requests, until: date) -> dict[str, pa.Table]:
        """Spread leads the way it was done before Banyan; return the truth and what comes of it."""
        pairs = shown(self.world, self.lenders, self.products, asked)
        keys = self.keys_of(asked, pairs.lead)
        outcomes = self.report(asked, pairs, asked.captured[pairs.lead], keys)
        true = keys | vars(pairs) | {"lead": asked.number[pairs.lead]}
        return {"shown": to_arrow(true), "outcomes": to_arrow(_landed(outcomes, date.min, until))}

    def land_catalogue(self, day: date, *, is_first: bool) -> None:
        """Write the catalogues that are new on `day`; on the first day every one, and the lists."""
        world = self.world
        changed = catalogue.changed_on(world, day) | is_first
        products = catalogue.product_table(world, self.products, day)
        rules = catalogue.rule_table(self.products)

        def send_catalogue(lender: int) -> None:
            name = str(self.lenders.name[lender])
            self._land_of(lender, "products", name, day, products)
            self._land_of(lender, "product_rules", name, day, rules)

        self._in_threads(send_catalogue, np.flatnonzero(changed).tolist())
        if is_first:
            institutions = catalogue.institution_table(self.lenders)
            self._land("institutions", PLATFORM, day, institutions, "csv")
            lists = suppressions(world, self.lenders, day)
            self._land("suppressions", PLATFORM, day, lists, "csv.gz")

    def land_supply(self, day: date, *, is_first: bool) -> None:
        """Write who invoiced whom: last month on the first of a month, the history at the start."""
        back = HISTORY_MONTHS if is_first else int(day.day == 1)
        months = [firms.month_before(day, number) for number in range(back, 0, -1)]
        sellers = parts(np.arange(self.world.firms))
        links = self._in_threads(
            lambda part: firms.supply_links(self.world, part[0], day, part[1]),
            [(month, among) for month in months for among in sellers],
        )
        if links:
            self._land("supply_links", PLATFORM, day, pa.concat_tables(links), "parquet")

    def land_spend(self, day: date) -> None:
        """Write what each channel spent; a shock changes what it brings, not its price."""
        calm = self.calm
        judged = np.arange(min(JUDGED, self.world.leads_per_day))
        asked = requests(calm.world, calm.channels, calm.lenders, day, judged)
        _, places, is_active = catalogue.terms_on(calm.world, calm.products, day)
        places = np.where(is_active, places, 0)
        earned = worth(calm.world, calm.lenders, calm.products, asked, places)
        spent = spend(calm.world, calm.channels, day, earned)
        for channel, name in enumerate(self.channels.name):
            rows = spent.filter(pa.array(spent["channel"].to_numpy() == channel))
            form = "csv" if channel % 2 else "jsonl"
            self._land("channel_spend", str(name), day, rows.drop_columns("channel"), form)

    @cached_property
    def calm(self) -> "Market":
        """The same market without its shocks."""
        return Market(replace(self.world, shocks=())) if self.world.shocks else self

    def report(self, asked: Requests, pairs: Shown, since: Moments, names: Columns) -> Columns:
        """Return the outcomes of pairs that were shown, whenever recorded; see `reported`."""
        return reported(
            self.world, self.lenders, self.products, asked, pairs, since=since, names=names
        )

    def land_outcomes(
        self,
        outcomes: list[Columns],
        last: date | None,
        *,
        first: date = date.min,
        name: str = "outcomes",
    ) -> None:
        """Write a file `name` for each institution and day on which it reports.

        Args:
            outcomes: See `reported`.
            last: The last day that is written; without it all are.
            first: The first.
            name: The files' name, without what their format adds.
        """
        sent = [_landed(columns, first, last or date.max) for columns in outcomes]
        self.land_reported(pa.concat_tables([to_arrow(columns) for columns in sent]), name)

    def land_reported(self, table: pa.Table, name: str = "outcomes") -> None:
        """Write a file `name` for each institution and day on which it reports; see `reported`."""
        named_by = [of for of in ("match_id", "channel_id", "lead_id") if of in table.column_names]
        by = ["lender", "landed", "recorded_at", *named_by, "product_id", "event"]
        table = table.sort_by([(of, "ascending") for of in by])
        lender, landed = table["lender"].to_numpy(), table["landed"].to_numpy()
        changes = np.flatnonzero((np.diff(lender) != 0) | (np.diff(landed).astype(int) != 0)) + 1
        table = table.drop_columns(["lender", "landed"])

        def send_report(rows: tuple[int, int]) -> None:
            begin, end = rows
            day, source = landed[begin].astype(date), str(self.lenders.name[lender[begin]])
            form = format_of(int(lender[begin]))
            self._land("outcomes", source, day, table.slice(begin, end - begin), form, name)

        if table.num_rows:
            self._in_threads(send_report, list(pairwise([0, *changes.tolist(), table.num_rows])))
        if (key := self.dirt.key()).num_rows:
            self._keep(key, f"dirt/{landed.min()}-{name}.parquet")

    def keep_truth(self) -> None:
        """Keep what the world is made of."""
        of_lenders: dict[str, Any] = {
            name: column for name, column in vars(self.lenders).items() if column.ndim == 1
        }
        of_products = {
            name: column for name, column in vars(self.products).items() if column.ndim == 1
        }
        self._keep(to_arrow(vars(self.channels)), "channels.parquet")
        self._keep(to_arrow(of_lenders), "lenders.parquet")
        names = {"product_id": catalogue.product_names(self.products)}
        self._keep(
            to_arrow(names | of_products | {"title": self.products.name}), "products.parquet"
        )

    def keep_of(self, day: date, name: str, columns: Columns) -> None:
        """Keep columns of the truth of `day`."""
        self._keep(to_arrow(columns), f"date={day}/{name}.parquet")

    def _land_of(self, lender: int, feed: str, name: str, day: date, table: pa.Table) -> None:
        rows = table.filter(pa.array(table["lender"].to_numpy() == lender))
        self._land(feed, name, day, rows.drop_columns("lender"), format_of(lender))

    def _land(
        self, feed: str, source: str, day: date, table: pa.Table, form: str, name: str = ""
    ) -> None:
        if table.num_rows:
            sending = Sending(feed, source, day, name or feed, form)
            rows, files = self.dirt.land(sending, table)
            with self._counting:
                self.rows[feed] += rows
                self.files[feed] += files

    def _in_threads(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> list[Result]:
        return in_threads(self.world.settings.threads, function, items)

    def _keep(self, table: pa.Table, name: str) -> None:
        write_parquet(table, self.world.settings.truth / name)

    def _local(self, moments: pa.ChunkedArray, day: date) -> pa.ChunkedArray:
        start = self.world.settings.day_start(day)
        offset = start.isoformat()[len("2025-03-03T00:00:00") :]
        return iso(moments, start.utcoffset() or timedelta(), offset)


def _landed(outcomes: Columns, first: date, last: date) -> Columns:
    """Return the outcomes that are sent from `first` to `last`."""
    landed = outcomes["landed"]
    is_sent = (landed >= np.datetime64(first)) & (landed <= np.datetime64(last))
    return {name: column[is_sent] for name, column in outcomes.items()}
