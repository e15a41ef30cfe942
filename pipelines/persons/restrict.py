"""Restrict the use of a person's data until it is lifted: an order of the platform's own.

The order goes the way of every other one: the person is not matched, not scored and not delivered,
and the institutions that have the person are noticed. What is held stays. To lift it, the order is
removed from where it landed and from the lake.
"""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.home.erasures import rewrite_folder
from pipelines.core.home.person_ledger import append_entry, list_restrictions, read_ledger
from pipelines.core.publishing import write_parquet
from pipelines.core.restrictions import PLATFORM
from pipelines.core.settings import Settings
from pipelines.core.translation import plural
from pipelines.persons.collect import hash_leads
from pipelines.persons.erase import refuse_named
from pipelines.persons.held import find_held
from pipelines.persons.identify import Kind, read_identifiers
from pipelines.persons.landed import LINES, erase_lines
from pipelines.persons.orders import find_open_date, land_order, list_order_subjects
from pipelines.persons.subjects import LEADS, MATCHES, VALUES, Subjects, load_subjects

REASON = "do_not_contact"
NOBODY = Subjects(LEADS.empty_table(), MATCHES.empty_table(), VALUES.empty_table())


def restrict(
    settings: Settings, kind: Kind, lines: Iterable[str], *, by: str, reason: str
) -> dict[str, Any]:
    """Restrict the persons that `lines` name; return the entry of the ledger.

    The order is landed before it is recorded: what a killed call leaves restricts. A restriction
    that is in force already for these leads stays as it is; `also_restricted_by` names it, because
    the leads are free only when each is lifted.

    Raises:
        InputMissing: None of the persons is known.
        PersonUnclear: An identifier names several persons.
    """
    identifiers = read_identifiers(kind, lines)
    refuse_named(reason, [value for _, value in identifiers])
    with connect(settings) as connection:
        found = find_held(connection, settings, kind, identifiers)
        if not found.persons:
            raise InputMissing(
                f"None of the {plural(len(identifiers), 'person')} is known in {settings.home}. "
                "Nothing was restricted. Is it written as the channel sent it?"
            )
        subjects = load_subjects(connection, settings, found)
        orders = list_order_subjects(connection, subjects)
        hashes = sorted(hash_leads(connection, settings, found.leads).values())
    others = [
        each["id"] for each in list_in_force(settings) if not set(each["leads"]).isdisjoint(hashes)
    ]
    name = f"restriction-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    day = find_open_date(settings)
    land_order(settings, name, day, REASON, orders)
    entry = append_entry(
        settings,
        {
            "verb": "restrict",
            "id": name,
            "by": by,
            "reason": reason,
            "persons": found.persons,
            "unknown": len(identifiers) - found.persons,
            "known_on": f"{day}",
            "leads": hashes,
        },
    )
    return entry | {"also_restricted_by": others}


def list_in_force(settings: Settings) -> list[dict[str, Any]]:
    """Return the ledger's entries of the restrictions that are not lifted, oldest first."""
    is_open = {each.id for each in list_restrictions(settings) if each.lifted_on is None}
    return [entry for entry in read_ledger(settings) if entry.get("id") in is_open]


def lift(settings: Settings, restriction: str, *, by: str, reason: str) -> dict[str, Any]:
    """Lift a restriction; return the entry of the ledger.

    `still_restricted_by` names the restrictions that stay in force for any of its leads.

    Raises:
        InputMissing: There is no such restriction, or it was lifted.
    """
    file = f"{restriction}.csv"
    landed = sorted((settings.landing / "suppressions" / PLATFORM).glob(f"*/{file}"))
    changed = [_empty(settings, path) for path in landed]
    changed += [
        _remove(folder, file, restriction)
        for folder in sorted((settings.lake / "suppressions").glob("date=*"))
    ]
    if not any(changed):
        raise InputMissing(
            f"There is no restriction {restriction} in force. Nothing was changed. List the ones "
            "in force: `banyan person restrict --list`."
        )
    in_force = list_in_force(settings)
    leads = {lead for each in in_force if each["id"] == restriction for lead in each["leads"]}
    others = [
        each["id"]
        for each in in_force
        if each["id"] != restriction and not leads.isdisjoint(each["leads"])
    ]
    entry = append_entry(
        settings,
        {
            "verb": "lift",
            "restriction": restriction,
            "by": by,
            "reason": reason,
            "known_on": f"{find_open_date(settings)}",
        },
    )
    return entry | {"still_restricted_by": others}


def _empty(settings: Settings, path: Path) -> bool:
    """Empty the orders of a landed file; return whether there were any."""
    count = path.read_bytes().count(b"\n")
    name = path.relative_to(settings.landing).as_posix()
    numbers = np.arange(2, count + 1)
    lines = pa.table([[name] * len(numbers), numbers, np.ones(len(numbers), np.int64)],
                     names=LINES.names).cast(LINES)  # fmt: skip
    return bool(list(erase_lines(settings, lines, NOBODY)))


def _remove(folder: Path, file: str, restriction: str) -> bool:
    """Remove the orders of a file from a partition of the lake; return whether there were any."""
    path = folder / "suppressions.parquet"
    if not path.is_file():
        return False
    table = pq.read_table(path, partitioning=None)
    is_own = pc.and_(pc.equal(table["platform_id"], PLATFORM), pc.equal(table["file"], file))
    is_own = pc.fill_null(is_own, fill_value=False)
    if not pc.any(is_own).as_py():
        return False

    def write(_: Path, target: Path) -> None:
        write_parquet(table.filter(pc.invert(is_own)), target)

    facts = {"treatment": "lifted", "changed": pc.sum(is_own).as_py()}
    rewrite_folder(folder, restriction, {path.name: (write, facts)})
    return True
