"""Everything that is held of a person: leads of the lake, and rows that never became one.

A row that broke its contract, or that lies in a file which no run could read, has no lead. Its
person may ask for it, and have it erased, all the same.
"""

from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.settings import Settings
from pipelines.persons.identify import (
    REJECTED,
    Found,
    Kind,
    PersonUnclear,
    find_leads,
    find_ordered_leads,
)
from pipelines.persons.landed import find_worded_lines
from pipelines.persons.rejected import create_rejected_view, find_rejected
from pipelines.persons.subjects import LEADS, MATCHES, VALUES, Subjects

DIGITS = "([0-9].*){6}"
"""A phone or number that is sought in any text; another word may be anything."""


def find_held(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    kind: Kind,
    identifiers: list[tuple[int, str]],
) -> Found:
    """Return the leads of the persons with these identifiers, and the rows of who has no lead.

    Raises:
        PersonUnclear: An identifier is one of several persons.
    """
    found = find_leads(connection, settings, kind, identifiers)
    missing = _list_missing(found)
    if not missing.num_rows:
        return found
    create_rejected_view(connection, settings)
    rows = find_rejected(connection, settings, missing)
    if unclear := pc.unique(rows.filter(rows["is_ambiguous"])["person"]).to_pylist():
        raise PersonUnclear(
            f"Line {unclear[0]} of standard input names several persons: the phone came with "
            "different identity numbers, in rows that were quarantined. Nothing was done. Name the "
            "person by the identity number (--id-number)."
        )
    rejected = rows.select(REJECTED.names)
    others = _list_missing(Found(found.asked, found.leads, rejected))
    worded = _find_worded(settings, others)
    return Found(found.asked, found.leads, pa.concat_tables([rejected, worded]))


def find_ordered(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Found:
    """Return what `find_held` does, of every person that a received order asks to erase.

    The hash of an order finds no row in a file that no run could read. An order whose hash is one
    of several persons is left out: it needs a human.
    """
    found = find_ordered_leads(connection, settings)
    create_rejected_view(connection, settings)
    rows = find_rejected(connection, settings, _list_missing(found))
    rejected = rows.filter(pc.invert(rows["is_ambiguous"])).select(REJECTED.names)
    return Found(found.asked, found.leads, rejected)


def _list_missing(found: Found) -> pa.Table:
    """Return the persons (`ASKED`) that nothing was found of so far."""
    is_known = pc.is_in(found.asked["person"], value_set=found.known)
    return found.asked.filter(pc.invert(is_known))


def _find_worded(settings: Settings, asked: pa.Table) -> pa.Table:
    """Return the landed rows that have the phone or number of a person, as a word."""
    is_value = pc.is_in(asked["kind"], value_set=pa.array(["phone", "id_number"]))
    has_digits = pc.match_substring_regex(pc.fill_null(asked["value"], ""), DIGITS)
    named = asked.filter(pc.and_(is_value, has_digits)).to_pylist()
    if not named:
        return REJECTED.empty_table()
    subjects = _of_values(named)
    of_word = {word: row for row in named for word in _of_values([row]).words}
    rows = [
        {"path": path, "line": line, **of_word[word]}
        for path, line, text in find_worded_lines(settings, subjects)
        for word in sorted(subjects.find_words(text))
    ]
    found = pa.Table.from_pylist(rows, REJECTED)
    return found.group_by(REJECTED.names).aggregate([]).select(REJECTED.names)


def _of_values(rows: list[dict[str, Any]]) -> Subjects:
    values = [{"kind": row["kind"], "value": row["value"], "is_own": True} for row in rows]
    return Subjects(
        LEADS.empty_table(), MATCHES.empty_table(), pa.Table.from_pylist(values, VALUES)
    )
