"""People and firms who must not be matched, or not with one institution."""

from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.database import connect
from pipelines.simulate import firms, people
from pipelines.simulate.chance import Ints
from pipelines.simulate.lenders import Lenders
from pipelines.simulate.world import Columns, Texts, World

NO_CONTACT, ERASED, CUSTOMERS, FRAUD = 0.003, 0.001, 0.010, 0.001
"""Shares of all people and firms who are on each list."""


def suppressions(world: World, those: Lenders, day: date) -> pa.Table:
    """Return the lists as they stand on `day`; subjects are hashed, as the contract says."""
    parts = [
        _rows(world, those, _numbers(number_of), is_firm=is_firm)
        for number_of, is_firm in ((world.people, False), (world.firms, True))
    ]
    told = pa.concat_tables(parts)
    with connect(world.settings) as connection:
        connection.register("told", told)
        hashed = connection.sql(
            "select subject_type, sha256(subject) as subject, reason, institution_id"
            " from told order by all"
        ).to_arrow_table()
        connection.unregister("told")
    effective = world.local(world.start_of(day).reshape(1), day)[0]
    return hashed.append_column("effective_at", pa.array([effective] * hashed.num_rows))


def _numbers(count: int) -> tuple[Ints, Texts]:
    """Return who is on a list, and the reason; numbers are random already, so the first do."""
    sizes = [int(count * share) for share in (NO_CONTACT, ERASED, CUSTOMERS, FRAUD)]
    reasons = ["do_not_contact", "erasure", "existing_customer", "fraud"]
    return np.arange(sum(sizes)), np.repeat(np.array(reasons), sizes)


def _rows(world: World, those: Lenders, listed: tuple[Ints, Texts], *, is_firm: bool) -> pa.Table:
    chance, (number, reason) = world.chance, listed
    who: Columns
    if is_firm:
        who = firms.identity(chance, firms.firms(chance, number))
    else:
        who = people.identity(chance, people.people(chance, number))
    by_phone = reason == "do_not_contact"
    lender = chance.below("customer of", those.name.size, number, np.int64(is_firm))
    is_customer = reason == "existing_customer"
    return pa.table(
        {
            "subject_type": np.where(by_phone, "phone", "id_number"),
            "subject": np.where(by_phone, who["phone"], who["id_number"]),
            "reason": reason,
            "institution_id": pa.array(those.name[lender], pa.string(), mask=~is_customer),
        }
    )
