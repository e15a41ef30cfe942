"""A simulated market writes what its sources send, day by day."""

from collections import Counter
from dataclasses import replace
from datetime import date
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.publish import write_parquet
from pipelines.simulate import catalogue, firms
from pipelines.simulate.answer_key import Sending
from pipelines.simulate.answers import Shown, shown
from pipelines.simulate.chance import Ints
from pipelines.simulate.channels import all_channels
from pipelines.simulate.dirt import Dirt
from pipelines.simulate.events import reported
from pipelines.simulate.land import as_text, format_of, to_arrow
from pipelines.simulate.lenders import all_lenders, all_products
from pipelines.simulate.requests import Requests, requests
from pipelines.simulate.spend import spend, worth
from pipelines.simulate.suppressions import suppressions
from pipelines.simulate.world import PLATFORM, Columns, Moments, World

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

    def send(self, day: date, start: date) -> Requests:
        """Write every feed of `day` but outcomes, and return its leads.

        Args:
            day: A business date.
            start: The first one that is simulated: catalogues and history come with it.
        """
        asked = requests(self.world, self.channels, self.lenders, day)
        self.keep_of(day, "leads", self.keys_of(asked, np.arange(asked.channel.size)) | asked.who)
        self.land_leads(asked)
        self.land_catalogue(day, is_first=day == start)
        self.land_supply(day, is_first=day == start)
        self.land_spend(asked)
        self._keep(self.dirt.key(), f"dirt/{day}-feeds.parquet")
        return asked

    def broadcast(self, asked: Requests) -> Columns:
        """Spread a day's leads the way it was done before Banyan; return what comes of it."""
        pairs = shown(self.world, self.lenders, self.products, asked)
        keys = self.keys_of(asked, pairs.lead)
        self.keep_of(asked.day, "shown", keys | vars(pairs))
        return self.report(asked, pairs, asked.captured[pairs.lead], keys)

    def keys_of(self, asked: Requests, lead: Ints) -> Columns:
        """Return the channel's and the lead's id of leads at these positions."""
        return {
            "channel_id": self.channels.name[asked.channel[lead]],
            "lead_id": asked.columns["lead_id"][lead],
        }

    def land_leads(self, asked: Requests) -> None:
        """Write a file for each channel."""
        table = to_arrow(asked.columns, WHOLE)
        for channel, name in enumerate(self.channels.name):
            place = np.flatnonzero(asked.channel == channel)
            place = place[np.argsort(asked.captured[place], kind="stable")]
            form = format_of(channel)
            sent = table.take(place)
            if form.startswith("csv"):
                sent = as_text(sent, lambda moments: self._local(moments, asked.day))
            self._land("leads", str(name), asked.day, sent, form)

    def land_catalogue(self, day: date, *, is_first: bool) -> None:
        """Write the catalogues that are new on `day`; on the first day every one, and the lists."""
        world = self.world
        changed = catalogue.changed_on(world, day) | is_first
        products = catalogue.product_table(world, self.products, day)
        rules = catalogue.rule_table(self.products)
        for lender in np.flatnonzero(changed).tolist():
            name = str(self.lenders.name[lender])
            self._land_of(lender, "products", name, day, products)
            self._land_of(lender, "product_rules", name, day, rules)
        if is_first:
            institutions = catalogue.institution_table(self.lenders)
            self._land("institutions", PLATFORM, day, institutions, "csv")
            lists = suppressions(world, self.lenders, day)
            self._land("suppressions", PLATFORM, day, lists, "csv.gz")

    def land_supply(self, day: date, *, is_first: bool) -> None:
        """Write who invoiced whom: last month on the first of a month, the history at the start."""
        back = HISTORY_MONTHS if is_first else int(day.day == 1)
        months = [firms.month_before(day, number) for number in range(back, 0, -1)]
        if months:
            links = [
                firms.supply_links(self.world, month, day, np.arange(self.world.firms))
                for month in months
            ]
            self._land("supply_links", PLATFORM, day, pa.concat_tables(links), "parquet")

    def land_spend(self, asked: Requests) -> None:
        """Write what each channel spent on the day; a shock changes what it brings, not its price."""
        calm, day = self.calm, asked.day
        if calm is not self:
            asked = requests(calm.world, calm.channels, calm.lenders, day)
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
        columns = {of: np.concatenate([day[of] for day in outcomes]) for of in outcomes[0]}
        is_sent = columns["landed"] <= np.datetime64(last or date.max)
        is_sent &= columns["landed"] >= np.datetime64(first)
        table = to_arrow({of: column[is_sent] for of, column in columns.items()})
        named_by = [of for of in ("match_id", "channel_id", "lead_id") if of in columns]
        by = ["lender", "landed", "recorded_at", *named_by, "product_id", "event"]
        table = table.sort_by([(of, "ascending") for of in by])
        lender, landed = table["lender"].to_numpy(), table["landed"].to_numpy()
        changes = np.flatnonzero((np.diff(lender) != 0) | (np.diff(landed).astype(int) != 0)) + 1
        table = table.drop_columns(["lender", "landed"])
        for begin, end in pairwise([0, *changes.tolist(), table.num_rows]):
            if end > begin:
                day, source = landed[begin].astype(date), str(self.lenders.name[lender[begin]])
                form = format_of(int(lender[begin]))
                self._land("outcomes", source, day, table.slice(begin, end - begin), form, name)
        if table.num_rows:
            self._keep(self.dirt.key(), f"dirt/{landed.min()}-{name}.parquet")

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
            self.rows[feed] += rows
            self.files[feed] += files

    def _keep(self, table: pa.Table, name: str) -> None:
        write_parquet(table, self.world.settings.truth / name)

    def _local(self, moments: pa.ChunkedArray, day: date) -> pa.ChunkedArray:
        times = moments.to_numpy().astype("datetime64[s]")
        return pa.chunked_array(
            [pa.array(self.world.local(times, day), pa.string(), mask=np.isnat(times))]
        )
