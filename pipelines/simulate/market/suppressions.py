"""People and firms who must not be matched, or not with one institution."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.core.arrays import IntArray
from pipelines.core.database import connect
from pipelines.simulate.market.lenders import Lenders
from pipelines.simulate.parallel_chunks import in_threads, parts
from pipelines.simulate.population import firms, identities, people
from pipelines.simulate.population.identities import Numbers
from pipelines.simulate.world import World
from pipelines.simulate.write_feeds import to_arrow, with_same

BY_PHONE, BY_LENDER = "do_not_contact", "existing_customer"
SHARES = {BY_PHONE: 0.003, "erasure": 0.001, BY_LENDER: 0.010, "fraud": 0.001}
"""Share of all people and firms who are on the list of each reason."""


@dataclass(frozen=True)
class Listed:
    """Some of the people, or of the firms, who are on one list."""

    reason: str
    is_firm: bool
    number: IntArray


def suppressions(world: World, those: Lenders, day: date) -> pa.Table:
    """Return the lists as they stand on `day`; subjects are hashed, as the contract says."""
    rows = in_threads(
        world.settings.threads, lambda listed: _rows(world, those, listed), list(_lists(world))
    )
    with connect(world.settings) as connection:
        connection.register("told", pa.concat_tables(rows))
        hashed = connection.sql(
            "select subject_type, sha256(subject) as subject, reason, institution_id"
            " from told order by all"
        ).to_arrow_table()
        connection.unregister("told")
    return with_same(hashed, {"effective_at": world.settings.day_start(day).isoformat()})


def _lists(world: World) -> Iterator[Listed]:
    """Yield who is on each list: numbers are random already, so the first are as good as any."""
    for count, is_firm in ((world.people, False), (world.firms, True)):
        begin = 0
        for reason, share in SHARES.items():
            end = begin + int(count * share)
            yield from (Listed(reason, is_firm, part) for part in parts(np.arange(begin, end)))
            begin = end


def _rows(world: World, those: Lenders, listed: Listed) -> pa.Table:
    number = listed.number
    customer_of = pa.nulls(number.size, pa.string())
    if listed.reason == BY_LENDER:
        lender = world.chance.below(
            "customer of", those.name.size, number, np.int64(listed.is_firm)
        )
        customer_of = pa.array(those.name[lender], pa.string())
    kind = "phone" if listed.reason == BY_PHONE else "id_number"
    table = to_arrow({"subject": _subjects(world, listed)})
    table = table.append_column("institution_id", customer_of)
    return with_same(table, {"subject_type": kind, "reason": listed.reason})


def _subjects(world: World, listed: Listed) -> Numbers:
    chance, number = world.chance, listed.number
    if listed.reason == BY_PHONE:
        return firms.phones(number) if listed.is_firm else identities.phones(number)
    if listed.is_firm:
        return identities.uscc(firms.regions(chance, number), number)
    return identities.resident_ids(*people.papers(chance, number))
