"""Which leads are a person's: by phone, identity number, or channel and lead.

What names a person is read from standard input, one person a line, and is never printed, logged or
written down: messages name the line.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import create_files_view, create_known_view, query_table
from pipelines.core.errors import BanyanError, UsageError
from pipelines.core.identifier_key import create_keyed_hash_macro, load_identifier_key
from pipelines.core.settings import Settings
from pipelines.core.translation import plural
from pipelines.ingest.phones import E164, normalise_phones

SQL = Path(__file__).parent / "sql"

Kind = Literal["phone", "id_number", "lead"]

LEAD = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}/\S{1,64}")
ID_NUMBER = re.compile(r"[0-9A-Z]{5,32}")

ASKED = pa.schema(
    [("person", pa.int64()), *((name, pa.string()) for name in ("kind", "value", "subject"))]
)
"""`value` is the normalised identifier, `subject` what the lake compares: its keyed hash."""
ROWS = pa.schema([("path", pa.string()), ("line", pa.int64())])
"""Rows that were received and not loaded: the file below landing/, and the line."""
REJECTED = pa.schema([("person", pa.int64()), *ROWS, ("kind", pa.string()), ("value", pa.string())])
"""Such rows of persons; `value` is the normalised number or phone by which the row is found."""


class PersonUnclear(BanyanError):
    """An identifier names several persons; nothing was done."""


@dataclass(frozen=True)
class Found:
    """The leads of the persons that are asked for."""

    asked: pa.Table
    """See `ASKED`; it holds personal data."""
    leads: pa.Table
    """`person`, `channel_id`, `lead_id` and `lead_on`, its business date; each lead once."""
    rejected: pa.Table = field(default_factory=REJECTED.empty_table)
    """The rows of persons without a lead, see `REJECTED`."""

    @property
    def known(self) -> pa.ChunkedArray:
        """Return the persons that something is held of."""
        return pc.unique(
            pa.chunked_array(
                [*self.leads["person"].chunks, *self.rejected["person"].chunks], pa.int64()
            )
        )

    @property
    def persons(self) -> int:
        """Return the number of persons that something is held of."""
        return len(self.known)


def read_identifiers(kind: Kind, lines: Iterable[str]) -> list[tuple[int, str]]:
    """Return line number and normalised identifier of each line that is not empty.

    Raises:
        UsageError: A line is no such identifier, or there is none; the message quotes nothing.
    """
    given = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not given:
        raise UsageError("Nobody was named on standard input. Nothing was done.")
    normalised = [(number, _normalise(kind, text)) for number, text in given]
    if wrong := [number for number, value in normalised if value is None]:
        forms = {
            "phone": "a phone such as +8613800138000",
            "id_number": "an identity number",
            "lead": "CHANNEL/LEAD",
        }
        raise UsageError(
            f"Line {wrong[0]} of standard input is not {forms[kind]} "
            f"({plural(len(wrong), 'line')} of {len(given)}). Nothing was done."
        )
    return [(number, value) for number, value in normalised if value]


def find_leads(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    kind: Kind,
    identifiers: list[tuple[int, str]],
) -> Found:
    """Return the leads of the persons with these identifiers, of every date of the lake.

    Creates the view `leads`: the lake with `lead_on`, the date of its partition.

    Raises:
        PersonUnclear: An identifier is one of several persons.
    """
    create_leads_view(connection, settings)
    asked = _make_asked(connection, settings, kind, identifiers)
    rows = _query_leads(connection, asked)
    if unclear := pc.unique(rows.filter(rows["is_ambiguous"])["person"]).to_pylist():
        raise PersonUnclear(
            f"Line {unclear[0]} of standard input names several persons: the phone, or the number, "
            "came with different identity numbers or with more phones or firms than a person has "
            f"({plural(len(unclear), 'line')} in all). Nothing was done. Name the person by the "
            "identity number (--id-number), or by one lead (--lead)."
        )
    return Found(asked, _list_once(rows))


def find_ordered_leads(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Found:
    """Return the leads of every person that a received order asks to erase.

    An order whose hash is one of several persons is left out: it needs a human.
    """
    create_leads_view(connection, settings)
    create_known_view(connection, settings, "suppressions", date.max)
    asked = connection.sql(
        """
        select
            row_number() over (order by subject_type, subject) as person,
            subject_type as kind,
            cast(null as varchar) as value,
            subject
        from (
            select distinct subject_type, subject from suppressions
            where
                reason = 'erasure'
                and (institution_id is null or institution_id in ('all', '*'))
        )
        """
    ).to_arrow_table().cast(ASKED)  # fmt: skip
    rows = _query_leads(connection, asked)
    return Found(asked, _list_once(rows.filter(pc.invert(rows["is_ambiguous"]))))


def _query_leads(connection: duckdb.DuckDBPyConnection, asked: pa.Table) -> pa.Table:
    connection.register("asked", asked)
    identity = policy.identity(date.max)
    limits = {
        "max_phones": identity.max_phones_per_person,
        "max_firms": identity.firms_of_one_owner.max_firms,
    }
    rows = query_table(connection, SQL / "find_leads.sql", limits)
    connection.unregister("asked")
    return rows


def _list_once(rows: pa.Table) -> pa.Table:
    """Return each lead once, with the first person that it was found for."""
    leads = rows.drop_columns(["is_ambiguous"])
    firsts = leads.group_by(["channel_id", "lead_id", "lead_on"]).aggregate([("person", "min")])
    leads = firsts.rename_columns({"person_min": "person"}).select(leads.column_names)
    order = [(name, "ascending") for name in ("person", "lead_on", "channel_id", "lead_id")]
    return leads.sort_by(order)


def create_leads_view(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Create the view `leads`: the leads of every date of the lake, with the date as `lead_on`."""
    files = sorted(str(path) for path in (settings.lake / "leads").glob("date=*/leads.parquet"))
    schema = load("leads").lake_schema.append(pa.field("date", pa.date32()))
    create_files_view(connection, "dated_leads", files, schema)
    connection.execute(
        "create or replace view leads as "
        "select * exclude (date), cast(date as date) as lead_on from dated_leads"
    )


def _normalise(kind: Kind, text: str) -> str | None:
    if kind == "lead":
        channel, separator, lead = text.partition("/")
        subject = f"{channel.lower()}{separator}{lead}"
        return subject if LEAD.fullmatch(subject) else None
    if kind == "id_number":
        number = re.sub(r"[\s-]", "", text).upper()
        return number if ID_NUMBER.fullmatch(number) else None
    phones, _ = normalise_phones(pa.chunked_array([[text]]), pa.chunked_array([[""]]))
    phone: str = phones[0].as_py()
    return phone if re.match(E164, phone) else None


def _make_asked(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    kind: Kind,
    identifiers: list[tuple[int, str]],
) -> pa.Table:
    values = [value for _, value in identifiers]
    if kind == "lead":
        subjects = values
    else:
        create_keyed_hash_macro(connection, load_identifier_key(settings))
        plain = pa.table({"hash": [hashlib.sha256(v.encode()).hexdigest() for v in values]})
        connection.register("plain", plain)
        keyed = connection.sql("select keyed_hash(hash) as subject from plain").to_arrow_table()
        connection.unregister("plain")
        subjects = keyed["subject"].to_pylist()
    columns = {
        "person": [number for number, _ in identifiers],
        "kind": [kind] * len(values),
        "value": values,
        "subject": subjects,
    }
    return pa.table(columns, schema=ASKED)
