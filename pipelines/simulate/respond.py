"""The simulated world responds to the deliveries of a day with outcomes, and weekly with prices."""

import hashlib
import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.matches.match_id import create_match_id_macro
from pipelines.simulate.institution_keys import open_file
from pipelines.simulate.market.catalogue import product_ids
from pipelines.simulate.market.leads import DayLeads
from pipelines.simulate.outcomes.broadcast import expected_yield
from pipelines.simulate.outcomes.ground_truth import PairTruth
from pipelines.simulate.prices.calibration import application_cost, measure_broadcast_cost
from pipelines.simulate.prices.reactions import (
    DAYS,
    WeekResults,
    measure_service,
    react,
    store_bids,
)
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.truth import leads_on, load_simulated_market, pair_truth, product_positions
from pipelines.simulate.world import Columns, TextArray
from pipelines.simulate.write_feeds import to_arrow

COLUMNS = ("match_id", "product_id", "rank", "phone")
"""Columns read from a lead file: Banyan's keys, and the phone by which the world finds the lead."""


@dataclass(frozen=True)
class DeliveredRows:
    """The newest lead files of a day, as institutions receive them."""

    rows: pa.Table
    """`institution_id` and `COLUMNS`, all text."""
    name: str
    """File name of the responses: files with other content have another name."""
    unopened: int
    """Encrypted lead files whose institution has no key of this world, so that it can't answer."""


@dataclass(frozen=True)
class Responses:
    """All outcomes of a day's deliveries, with no limit of date."""

    counts: dict[str, int]
    """Pairs `delivered`, `unknown` to this world, and `already_shown` by that day's broadcast,
    which have their outcomes; lead files that are `unopened`."""
    outcomes: Columns
    """See `simulate_outcomes`."""
    name: str
    """File name of the responses to these deliveries."""


def respond(settings: Settings, day: date, last: date | None = None) -> dict[str, Any]:
    """Write the outcomes of the outbox of `day`, each on the date on which it is sent.

    The files have names of their own, so no file of `landing/` is changed: the same deliveries give
    the same files again, and corrected deliveries give files beside them.

    Args:
        settings: Home of the market.
        day: The business date that was delivered.
        last: The last date to write for; None: all are written, years ahead.

    Returns:
        The counts of `Responses`, and the `rows` and `files` written.

    Raises:
        InputMissing: The home was not simulated, or the outbox of `day` is empty.
    """
    market = load_simulated_market(settings)
    responses = respond_to_deliveries(settings, market, day)
    market.write_outcomes([responses.outcomes], last, name=responses.name)
    written = {"rows": market.rows["outcomes"], "files": market.files["outcomes"]}
    return responses.counts | written


def respond_to_deliveries(settings: Settings, market: SimulatedMarket, day: date) -> Responses:
    """Return the world's responses to the outbox of `day`, and write the truth of these pairs.

    Lead files go out at the end of the day, and applicants respond from then on.

    Raises:
        InputMissing: The outbox of `day` is empty.
    """
    delivered = _read_outbox(settings, day)
    leads = leads_on(market, day)
    match_id, pairs = _known_pairs(settings, market, leads, delivered.rows)
    is_new = ~_is_already_shown(settings, market, day, pairs)
    counts = {
        "delivered": delivered.rows.num_rows,
        "unknown": delivered.rows.num_rows - pairs.lead.size,
        "already_shown": int((~is_new).sum()),
        "unopened": delivered.unopened,
    }
    pairs = PairTruth(**{name: column[is_new] for name, column in vars(pairs).items()})
    names: Columns = {"match_id": match_id[is_new]}
    truth = market.lead_keys(leads, pairs.lead) | names | vars(pairs)
    market.write_day_truth(day, "responses", truth)
    since = np.full(pairs.lead.size, market.world.start_of(day + timedelta(days=1)))
    outcomes = market.simulate_outcomes(leads, pairs, since, names)
    return Responses(counts, outcomes, delivered.name)


def update_prices(settings: Settings, market: SimulatedMarket, day: date) -> None:
    """Store what the products bid from `day` on, on a Monday after a week with deliveries.

    Products judge by the truth's expected results of the pairs that were delivered, each as its
    lead's only offer. The same deliveries give the same bids.
    """
    if day.weekday() != 0:
        return
    week = [day - timedelta(days=back) for back in range(DAYS, 0, -1)]
    pairs = [_delivered_pairs(settings, market, earlier) for earlier in week]
    products, size = market.products, market.products.lender.size
    leads, cost, interest = np.zeros(size), np.zeros(size), np.zeros(size)
    for earlier, truth in zip(week, pairs, strict=True):
        paid = application_cost(products, market.prices_on(earlier), truth)
        leads += np.bincount(truth.product, minlength=size)
        cost += np.bincount(truth.product, paid, size)
        interest += np.bincount(truth.product, expected_yield(truth), size)
    if not leads.any():
        return
    calibrated = market.calibrated_market
    price = market.price_factor(day) * calibrated.products.price
    broadcast_cost = measure_broadcast_cost(calibrated, day, price)
    results = WeekResults(leads, np.round(cost, 2), np.round(interest, 2))
    bids = react(market.bids_on(day - timedelta(days=1)), results, broadcast_cost, day)
    facts = vars(results) | {"service": measure_service(results, broadcast_cost)}
    store_bids(settings.truth, day, bids, product_ids(products), facts)


def _delivered_pairs(settings: Settings, market: SimulatedMarket, day: date) -> PairTruth:
    """Return the truth of the pairs delivered on `day`, each as its lead's only offer."""
    file = settings.day_folder(settings.truth, day) / "responses.parquet"
    keys = pa.table({"lead": pa.array([], pa.int64()), "product": pa.array([], pa.int64())})
    if file.is_file():
        keys = pq.read_table(file, columns=["lead", "product"], partitioning=None)
    lead, product = (keys[name].to_numpy() for name in ("lead", "product"))
    return pair_truth(market, leads_on(market, day), lead, product)


def _read_outbox(settings: Settings, day: date) -> DeliveredRows:
    outbox = settings.day_folder(settings.outbox, day)
    folders = sorted(
        path.parent for path in outbox.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")
    )
    if not folders:
        raise InputMissing(
            f"Nothing was delivered on {day}: {outbox} holds no {MANIFEST}. No outcome was "
            f"written. Run the day first: python -m pipelines run --date {day}"
        )
    newest = [
        (folder, delivery)
        for folder in folders
        for delivery in read_manifest(folder)["deliveries"][-1:]
    ]
    tables = [_open_lead_file(settings, folder, delivery) for folder, delivery in newest]
    schema = pa.schema([(name, pa.string()) for name in ("institution_id", *COLUMNS)])
    opened = [table for table in tables if table is not None]
    files = [
        (folder.name, delivery.get("content_sha256", delivery["sha256"]))  # sealing is random
        for (folder, delivery), table in zip(newest, tables, strict=True)
        if table is not None
    ]
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]
    rows = pa.concat_tables([schema.empty_table(), *opened])
    return DeliveredRows(rows, f"answers-{day}-{digest}", len(tables) - len(opened))


def _open_lead_file(settings: Settings, folder: Path, delivery: dict[str, Any]) -> pa.Table | None:
    """Return the rows of a delivered lead file; None if its institution can't open it."""
    file, name = folder / delivery["file"], folder.name
    if not delivery.get("sealed_with"):
        return _read_lead_file(file, name)
    with open_file(settings, name, file) as opened:
        return _read_lead_file(opened, name) if opened else None


def _read_lead_file(file: Path, institution_id: str) -> pa.Table:
    table = lead_file.read(file)
    columns = {name: table[name].cast(pa.string()) for name in COLUMNS}
    institution = pa.array([institution_id] * table.num_rows, pa.string())
    return pa.table({"institution_id": institution} | columns)


def _known_pairs(
    settings: Settings, market: SimulatedMarket, leads: DayLeads, rows: pa.Table
) -> tuple[TextArray, PairTruth]:
    """Return match ids and truth of the delivered pairs that this world knows.

    A phone belongs to a few leads at most; the match id decides between them.
    """
    position = np.arange(leads.channel.size)
    keys = market.lead_keys(leads, position) | {"phone": leads.columns["phone"]}
    with connect(settings) as connection:
        connection.register("delivered", rows)
        connection.register("leads", to_arrow(keys).append_column("lead", pa.array(position)))
        found = _join_leads(connection, settings, leads.day)
    product = product_positions(market, found["product_id"].to_numpy().astype(str))
    known = found.append_column("product", pa.array(product)).filter(pa.array(product >= 0))
    lead, product, rank = (known[name].to_numpy() for name in ("lead", "product", "rank"))
    truth = pair_truth(market, leads, lead, product, rank)
    return known["match_id"].to_numpy().astype(str), truth


def _join_leads(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> pa.Table:
    """Return the delivered rows of known leads; the match id is computed as matches compute it."""
    create_match_id_macro(connection, settings)
    return connection.sql(
        """
        select match_id, product_id, cast(rank as bigint) as rank, lead
        from delivered inner join leads using (phone)
        where match_id = make_match_id($day, channel_id, lead_id, institution_id, product_id)
        order by match_id
        """,
        params={"day": day.isoformat()},
    ).to_arrow_table()


def _is_already_shown(
    settings: Settings, market: SimulatedMarket, day: date, pairs: PairTruth
) -> BoolArray:
    file = settings.day_folder(settings.truth, day) / "shown.parquet"
    if not file.is_file():
        return np.zeros(pairs.lead.size, bool)
    shown = pq.read_table(file, columns=["lead", "product"])
    products = market.products.lender.size

    def pair_number(lead: IntArray, product: IntArray) -> IntArray:
        return lead * products + product

    before = pair_number(shown["lead"].to_numpy(), shown["product"].to_numpy())
    return np.isin(pair_number(pairs.lead, pairs.product), before)
