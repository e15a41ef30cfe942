"""People and firms who must not be matched, or not with one institution."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.database import connect
from pipelines.simulate import firms, identities, people
from pipelines.simulate.chance import Ints
from pipelines.simulate.land import to_arrow, with_same
from pipelines.simulate.lenders import Lenders
from pipelines.simulate.world import World

BY_PHONE, BY_LENDER = "do_not_contact", "existing_customer"
SHARES = {BY_PHONE: 0.003, "erasure": 0.001, BY_LENDER: 0.010, "fraud": 0.001}
"""Share of all people and firms who are on the list of each reason."""


def suppressions(world: World, those: Lenders, day: date) -> pa.Table:
    """Return the lists as they stand on `day`; subjects are hashed, as the contract says."""
    lists = [
        _list(world, those, reason, numbers, is_firm=is_firm)
        for count, is_firm in ((world.people, False), (world.firms, True))
        for reason, numbers in _listed(count)
    ]
    told = pa.concat_tables(lists)
    with connect(world.settings) as connection:
        connection.register("told", told)
        hashed = connection.sql(
            "select subject_type, sha256(subject) as subject, reason, institution_id"
            " from told order by all"
        ).to_arrow_table()
        connection.unregister("told")
    effective_at = world.local(world.start_of(day).reshape(1), day)[0]
    return with_same(hashed, {"effective_at": effective_at})


def _listed(count: int) -> Iterator[tuple[str, Ints]]:
    """Yield each list's reason and who of so many is on it: numbers are random already."""
    begin = 0
    for reason, share in SHARES.items():
        end = begin + int(count * share)
        yield reason, np.arange(begin, end)
        begin = end


def _list(world: World, those: Lenders, reason: str, number: Ints, *, is_firm: bool) -> pa.Table:
    chance = world.chance
    if reason == BY_PHONE:
        subject = firms.phones(number) if is_firm else identities.phones(number)
    elif is_firm:
        subject = identities.uscc(firms.regions(chance, number), number)
    else:
        subject = identities.resident_ids(*people.papers(chance, number))
    table = to_arrow({"subject": subject})
    customer_of = pa.nulls(number.size, pa.string())
    if reason == BY_LENDER:
        lender = chance.below("customer of", those.name.size, number, np.int64(is_firm))
        customer_of = pa.array(those.name).take(pa.array(lender))
    kind = "phone" if reason == BY_PHONE else "id_number"
    table = table.append_column("institution_id", customer_of)
    return with_same(table, {"subject_type": kind, "reason": reason})
