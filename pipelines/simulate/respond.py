"""The `respond` verb: the simulated world answers what was delivered to its institutions."""

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
from pipelines.deliveries import lead_file as delivery_file
from pipelines.matches.ids import MATCH_ID
from pipelines.simulate.market.requests import Requests
from pipelines.simulate.outcomes.ground_truth import Shown
from pipelines.simulate.simulator import Market
from pipelines.simulate.truth import asked_on, product_positions, truth_of, world_of
from pipelines.simulate.world import Columns, Texts
from pipelines.simulate.write_feeds import to_arrow

IN_A_FILE = ("match_id", "product_id", "rank", "phone")
"""What is read of a lead file: what Banyan says of the match, and whom the world knows it by."""


@dataclass(frozen=True)
class Delivered:
    """The newest lead files of a day, as their institutions find them."""

    rows: pa.Table
    """`institution_id` and the columns of `IN_A_FILE`, all text."""
    name: str
    """Stands for these very files: other bytes have another name."""


@dataclass(frozen=True)
class Answered:
    """What comes of the deliveries of a day, whenever it is reported."""

    counts: dict[str, int]
    """`delivered` pairs, those `unknown` to this world, those `already_shown` by the broadcast of
    that day, which have their outcomes."""
    outcomes: Columns
    """See `reported`."""
    name: str
    """Stands for these very deliveries."""


def respond(settings: Settings, day: date, last: date | None = None) -> dict[str, Any]:
    """Write the outcomes of what lies in the outbox of `day`, each on the date it is sent on.

    The files that are written bear a name of their own, so that none that lies in `landing/` is
    ever changed: the same deliveries give the same files again, corrected deliveries give files
    beside them.

    Args:
        settings: Says where the home is.
        day: The business date that was delivered.
        last: The last date to write for; without it all are written, years ahead.

    Returns:
        The counts of `Answered`, and the `rows` and `files` written.

    Raises:
        InputMissing: The home was not simulated, or nothing is in the outbox of `day`.
    """
    market = world_of(settings)
    found = answered(settings, market, day)
    market.land_outcomes([found.outcomes], last, name=found.name)
    written = {"rows": market.rows["outcomes"], "files": market.files["outcomes"]}
    return found.counts | written


def answered(settings: Settings, market: Market, day: date) -> Answered:
    """Let the world answer what lies in the outbox of `day`, and keep the truth of these pairs.

    The lead files go out when the day is over, and people answer from then on.

    Raises:
        InputMissing: Nothing is in the outbox of `day`.
    """
    delivered = _delivered(settings, day)
    asked = asked_on(market, day)
    match_id, pairs = _recognised(settings, market, asked, delivered.rows)
    is_new = ~_already_shown(settings, market, day, pairs)
    counts = {
        "delivered": delivered.rows.num_rows,
        "unknown": delivered.rows.num_rows - pairs.lead.size,
        "already_shown": int((~is_new).sum()),
    }
    pairs, named = _only(pairs, is_new), {"match_id": match_id[is_new]}
    market.keep_of(day, "answered", market.keys_of(asked, pairs.lead) | named | vars(pairs))
    out = market.world.start_of(day + timedelta(days=1))
    since = np.full(pairs.lead.size, out)
    outcomes = market.report(asked, pairs, since, named)
    return Answered(counts, outcomes, delivered.name)


def _delivered(settings: Settings, day: date) -> Delivered:
    outbox = settings.day_folder(settings.outbox, day)
    folders = sorted(
        path.parent for path in outbox.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")
    )
    if not folders:
        raise InputMissing(
            f"Nothing was delivered on {day}: {outbox} holds no {MANIFEST}. Nothing was answered. "
            f"Run the day first: python -m pipelines run --date {day}"
        )
    newest = [
        (folder, delivery)
        for folder in folders
        for delivery in read_manifest(folder)["deliveries"][-1:]
    ]
    tables = [_rows_of(folder / delivery["file"], folder.name) for folder, delivery in newest]
    schema = pa.schema([(name, pa.string()) for name in ("institution_id", *IN_A_FILE)])
    files = [(folder.name, delivery["sha256"]) for folder, delivery in newest]
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]
    return Delivered(pa.concat_tables([schema.empty_table(), *tables]), f"answers-{day}-{digest}")


def _rows_of(file: Path, institution_id: str) -> pa.Table:
    read = delivery_file.read(file)
    columns = {name: read[name].cast(pa.string()) for name in IN_A_FILE}
    return pa.table(
        {"institution_id": pa.array([institution_id] * read.num_rows, pa.string())} | columns
    )


def _recognised(
    settings: Settings, market: Market, asked: Requests, rows: pa.Table
) -> tuple[Texts, Shown]:
    """Return the match ids and the truth of the delivered pairs that this world knows.

    A phone finds the few leads that may be meant, and the match id tells which of them is.
    """
    position = np.arange(asked.channel.size)
    people = to_arrow(market.keys_of(asked, position) | {"phone": asked.columns["phone"]})
    with connect(settings) as connection:
        connection.register("delivered", rows)
        connection.register("people", people.append_column("lead", pa.array(position)))
        found = _same(connection, asked.day)
    product = product_positions(market, found["product_id"].to_numpy().astype(str))
    known = found.append_column("product", pa.array(product)).filter(pa.array(product >= 0))
    lead, product, rank = (known[name].to_numpy() for name in ("lead", "product", "rank"))
    return known["match_id"].to_numpy().astype(str), truth_of(market, asked, lead, product, rank)


def _same(connection: duckdb.DuckDBPyConnection, day: date) -> pa.Table:
    return connection.sql(
        f"""
        select match_id, product_id, cast(rank as bigint) as rank, lead
        from delivered join people using (phone)
        where match_id = {MATCH_ID}
        order by match_id
        """,
        params={"day": day.isoformat()},
    ).to_arrow_table()


def _already_shown(settings: Settings, market: Market, day: date, pairs: Shown) -> BoolArray:
    file = settings.day_folder(settings.truth, day) / "shown.parquet"
    if not file.is_file():
        return np.zeros(pairs.lead.size, bool)
    shown = pq.read_table(file, columns=["lead", "product"])
    count = market.products.lender.size

    def pair(lead: IntArray, product: IntArray) -> IntArray:
        return lead * count + product

    before = pair(shown["lead"].to_numpy(), shown["product"].to_numpy())
    return np.isin(pair(pairs.lead, pairs.product), before)


def _only(pairs: Shown, those: BoolArray) -> Shown:
    return Shown(**{name: column[those] for name, column in vars(pairs).items()})
