"""Who is erased: leads, matches, and every value by which a file may name the persons.

It is personal data. While an erasure is at work it is in the journal of the erasure, so that a
killed one can be completed, and nowhere else.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.contracts import load
from pipelines.core.arrays import BoolArray
from pipelines.core.database import query_table
from pipelines.core.home.erasures import ERASED
from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.identity import normalise_id_sql, normalise_phone_sql
from pipelines.persons.identify import ROWS, SQL, Found
from pipelines.persons.rejected import create_rejected_view

WORD = re.compile(rb"[0-9A-Za-z][0-9A-Za-z._-]{3,}")
"""A word of any file, as an id, a number or a hash is one; a `+` before it is no part of it."""
NO_WORD = r"[^0-9A-Za-z._-]+"
"""What is between the words of a text."""

LEAST_DIGITS = 8
"""Digits of the shortest national phone number that is searched for by itself."""
LEAST_LETTERS = 6
"""Letters of the shortest lead id that is a word of its own; a shorter one may be any number."""

CODE = re.compile(r"[a-z0-9_]{1,40}")
"""A reason that is a code, and no free text."""
OUTCOME_COLUMNS = frozenset(load("outcomes").names)
"""Columns of an outcome that stay where a match is billed by it."""

UNNAMED = f"{ERASED}value"
"""Takes the place of a value that names a person and that nothing else refers to."""

LEADS = pa.schema(
    [
        ("person", pa.int64()),
        ("channel_id", pa.string()),
        ("lead_id", pa.string()),
        ("lead_on", pa.date32()),
        ("is_hashed", pa.bool_()),
        ("token", pa.string()),
    ]
)
"""`is_hashed`: the lead has a number or a phone, so that an order can name its person by a hash."""
MATCHES = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("match_id", "channel_id", "lead_id", "institution_id", "product_id")
        ),
        ("matched_on", pa.date32()),
        ("is_delivered", pa.bool_()),
        ("token", pa.string()),
    ]
)
VALUES = pa.schema([("kind", pa.string()), ("value", pa.string()), ("is_own", pa.bool_())])
"""`kind` is a column of the lake's leads."""
TABLES = ("leads", "matches", "values", "rejected")


@dataclass(frozen=True)
class Subjects:
    """The persons that are erased."""

    leads: pa.Table
    """See `LEADS`; `token` takes the place of the lead id where a row stays."""
    matches: pa.Table
    """See `MATCHES`; `token` takes the place of the match id."""
    values: pa.Table
    """See `VALUES`."""
    rejected: pa.Table = field(default_factory=ROWS.empty_table)
    """Rows of theirs that were received and not loaded, see `ROWS`."""

    @cached_property
    def rejected_lines(self) -> pa.Array:
        """Return PATH:LINE of each rejected row, with the path below landing/."""
        lines = self.rejected["line"].cast(pa.string())
        return pc.binary_join_element_wise(self.rejected["path"], lines, ":").combine_chunks()

    @cached_property
    def lead_keys(self) -> pa.Array:
        """Return CHANNEL/LEAD of each lead."""
        return join_keys(self.leads["channel_id"], self.leads["lead_id"]).combine_chunks()

    @cached_property
    def lead_tokens(self) -> pa.Array:
        """Return the token of each lead, in the order of `lead_keys`."""
        return self.leads["token"].combine_chunks()

    @cached_property
    def hashed_leads(self) -> pa.Array:
        """Return CHANNEL/LEAD of each lead whose person an order can name by a hash."""
        return self.lead_keys.filter(self.leads["is_hashed"].combine_chunks())

    @cached_property
    def match_ids(self) -> pa.Array:
        """Return the id of each match."""
        return self.matches["match_id"].combine_chunks()

    @cached_property
    def match_tokens(self) -> pa.Array:
        """Return the token of each match, in the order of `match_ids`."""
        return self.matches["token"].combine_chunks()

    @cached_property
    def billed_matches(self) -> pa.Array:
        """Return the ids of the matches that an institution received: it is billed by them."""
        return self.matches.filter(self.matches["is_delivered"])["match_id"].combine_chunks()

    @cached_property
    def billed_pairs(self) -> pa.Array:
        """Return CHANNEL/LEAD/INSTITUTION of the matches that an institution received."""
        rows = self.matches.filter(self.matches["is_delivered"])
        return join_pairs(rows).combine_chunks()

    def unlink_outcome(self, row: dict[str, Any], institution: str) -> dict[str, Any] | None:
        """Return the row of an outcome file without the person; None if nothing is billed by it."""
        match, lead = f"{row.get('match_id') or ''}", (row.get("channel_id"), row.get("lead_id"))
        pair = f"{lead[0]}/{lead[1]}/{institution}"
        if match not in self._billed[0] and pair not in self._billed[1]:
            return None
        kept = {name: value for name, value in row.items() if name in OUTCOME_COLUMNS}
        kept["match_id"] = self._match_token_of.get(match, row.get("match_id"))
        if kept.get("lead_id"):
            kept["lead_id"] = self._lead_token_of.get(f"{lead[0]}/{lead[1]}", UNNAMED)
        if not CODE.fullmatch(f"{kept.get('reason') or ''}"):
            kept["reason"] = None
        return kept

    @cached_property
    def _billed(self) -> tuple[set[str], set[str]]:
        return set(self.billed_matches.to_pylist()), set(self.billed_pairs.to_pylist())

    @cached_property
    def _match_token_of(self) -> dict[str, str]:
        return dict(zip(self.match_ids.to_pylist(), self.match_tokens.to_pylist(), strict=True))

    @cached_property
    def _lead_token_of(self) -> dict[str, str]:
        return dict(zip(self.lead_keys.to_pylist(), self.lead_tokens.to_pylist(), strict=True))

    def values_of(self, *kinds: str, only_own: bool = True) -> pa.Array:
        """Return the values of some kinds; only the ones that nobody else has, if `only_own`."""
        is_chosen = pc.is_in(self.values["kind"], value_set=pa.array(kinds))
        if only_own:
            is_chosen = pc.and_(is_chosen, self.values["is_own"])
        return self.values.filter(is_chosen)["value"].combine_chunks()

    @cached_property
    def words(self) -> dict[bytes, bytes]:
        """Return each word that names one of the persons alone -> what takes its place."""
        words = dict.fromkeys(self._value_words(), UNNAMED.encode())
        by_lead: dict[str, set[str]] = {}
        for row in self.leads.to_pylist():
            by_lead.setdefault(row["lead_id"], set()).add(row["token"])
        distinct = set(self.values_of("lead_id").to_pylist())
        for lead, tokens in by_lead.items():
            if lead in distinct and len(tokens) == 1 and is_distinctive(lead):
                words[lead.encode()] = min(tokens).encode()
        matches = zip(self.match_ids.to_pylist(), self.match_tokens.to_pylist(), strict=True)
        words |= {match.encode(): token.encode() for match, token in matches}
        return {word: token for word, token in words.items() if WORD.fullmatch(word)}

    def _value_words(self) -> Iterator[bytes]:
        hashes = ("id_number_sha256", "owner_id_number_sha256", "phone_sha256", "person_key")
        for value in self.values_of(*hashes, "device_id").to_pylist():
            yield value.encode()
        for value in self.values_of("id_number", "owner_id_number").to_pylist():
            yield from (value.encode(), value.upper().encode(), value.lower().encode())
        for phone in self.values_of("phone").to_pylist():
            yield from map(str.encode, list_phone_words(phone))

    def find_words(self, data: bytes) -> set[bytes]:
        """Return the words of `data` that name one of the persons."""
        return self.words.keys() & set(WORD.findall(data))

    def replace_words(self, data: bytes) -> bytes:
        """Return `data` with a token in place of each word that names one of the persons."""
        return WORD.sub(lambda match: self.words.get(match[0], match[0]), data)

    def save(self, folder: Path) -> None:
        """Write the subjects into the journal `folder`."""
        for name in TABLES:
            write_parquet(getattr(self, name), folder / f"{name}.parquet")

    @classmethod
    def load(cls, folder: Path) -> "Subjects":
        """Return the subjects in the journal `folder`."""
        return cls(
            *(pq.read_table(folder / f"{name}.parquet", partitioning=None) for name in TABLES)
        )


def load_subjects(
    connection: duckdb.DuckDBPyConnection, settings: Settings, found: Found
) -> Subjects:
    """Return the subjects of the leads that were found, with new random tokens.

    Args:
        connection: With the view `leads` of `find_leads`.
        settings: Where matches and deliveries are.
        found: The leads.
    """
    connection.register("subject_leads", found.leads)
    values = query_table(connection, SQL / "identifiers.sql").cast(VALUES)
    create_rejected_view(connection, settings)
    named = (_normalise_values(connection, values), _asked_values(found), _rejected_values(found))
    values = pa.concat_tables([values, *named])
    values = values.group_by(["kind", "value"]).aggregate([("is_own", "min")])
    values = values.rename_columns({"is_own_min": "is_own"}).select(VALUES.names).cast(VALUES)
    leads = _add_tokens(query_table(connection, SQL / "subject_leads.sql"))
    leads = leads.select(LEADS.names).cast(LEADS)
    matches = _load_matches(connection, settings)
    return Subjects(leads, matches, values, _list_rejected(connection, found, values))


def join_keys(channels: pa.ChunkedArray, leads: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return CHANNEL/LEAD of each row; null where one of them is."""
    return pc.binary_join_element_wise(channels, leads, "/")


def join_pairs(rows: pa.Table) -> pa.ChunkedArray:
    """Return CHANNEL/LEAD/INSTITUTION of each row; null where one of them is."""
    names = ("channel_id", "lead_id", "institution_id")
    return pc.binary_join_element_wise(*(rows[name] for name in names), "/")


def flag(values: pa.ChunkedArray, searched: pa.Array) -> BoolArray:
    """Return of each value whether it is one of `searched`."""
    flags: BoolArray = np.asarray(pc.is_in(values, value_set=searched))
    return flags


def is_distinctive(lead: str) -> bool:
    """Return whether a lead id looks like no other word of a text, such as a number."""
    return len(lead) >= LEAST_LETTERS and any(map(str.isdigit, lead))


def list_phone_words(phone: str) -> list[str]:
    """Return the words as which a phone in E.164 may be written: with and without country code."""
    digits = re.sub(r"[^0-9]", "", phone)
    national = [digits[length:] for length in (1, 2, 3)]
    return [digits, *(part for part in national if len(part) >= LEAST_DIGITS)]


def make_tokens(count: int) -> list[str]:
    """Return so many random ids that nothing connects with a person."""
    return [f"{ERASED}{secrets.token_hex(8)}" for _ in range(count)]


def _add_tokens(table: pa.Table) -> pa.Table:
    return table.append_column("token", pa.array(make_tokens(table.num_rows), pa.string()))


def _normalise_values(connection: duckdb.DuckDBPyConnection, values: pa.Table) -> pa.Table:
    """Return numbers and phones as ingest normalises them."""
    connection.register("sent_values", values)
    normalised = connection.sql(
        f"""
        select
            kind,
            case
                when kind = 'phone' then {normalise_phone_sql("value")}
                else {normalise_id_sql("value")}
            end as value,
            is_own
        from sent_values
        where kind in ('id_number', 'owner_id_number', 'phone')
        """
    ).to_arrow_table()
    connection.unregister("sent_values")
    return normalised.filter(pc.is_valid(normalised["value"])).cast(VALUES)


def _asked_values(found: Found) -> pa.Table:
    """Return the identifiers that were given: a quarantined row may have one that no lead has."""
    known = pc.is_in(found.asked["person"], value_set=found.known)
    is_value = pc.and_(pc.not_equal(found.asked["kind"], "lead"), pc.is_valid(found.asked["value"]))
    given = found.asked.filter(pc.and_(known, is_value)).select(["kind", "value"])
    own = pa.array([True] * given.num_rows, pa.bool_())
    return given.append_column("is_own", own).cast(VALUES)


def _rejected_values(found: Found) -> pa.Table:
    """Return the numbers and phones by which rejected rows were found: no lead has them."""
    own = pa.array([True] * found.rejected.num_rows, pa.bool_())
    return found.rejected.select(["kind", "value"]).append_column("is_own", own).cast(VALUES)


def _list_rejected(
    connection: duckdb.DuckDBPyConnection, found: Found, values: pa.Table
) -> pa.Table:
    """Return the rejected rows of the persons: the ones found, and the ones with their values."""
    connection.register("subject_values", values.filter(values["is_own"]))
    rows = query_table(connection, SQL / "own_rejected_rows.sql").cast(ROWS)
    connection.unregister("subject_values")
    rows = pa.concat_tables([rows, found.rejected.select(ROWS.names)])
    return rows.group_by(ROWS.names).aggregate([]).select(ROWS.names)


def _load_matches(connection: duckdb.DuckDBPyConnection, settings: Settings) -> pa.Table:
    """Return every match of the table `subject_leads`: planned, delivered or both."""
    published = list_partitions(settings.matches, "matches")
    delivered = list_partitions(settings.delivered, "*")
    parts = [
        "select match_id, channel_id, lead_id, institution_id, product_id, "
        f"cast(date as date) as matched_on, {is_delivered} as is_delivered "
        f"from read_parquet([{files}], hive_partitioning = true, union_by_name = true)"
        for files, is_delivered in ((published, "false"), (delivered, "true"))
        if files
    ]
    if not parts:
        return MATCHES.empty_table()
    rows = connection.sql(
        f"""
        select match_id, channel_id, lead_id, institution_id, product_id,
            min(matched_on) as matched_on, max(is_delivered) as is_delivered
        from ({" union all ".join(parts)})
        semi join subject_leads using (channel_id, lead_id)
        group by all
        order by match_id
        """
    ).to_arrow_table()
    return _add_tokens(rows).cast(MATCHES)


def list_partitions(root: Path, stem: str) -> str:
    """Return the files of every partition as a list of SQL literals."""
    paths: Iterable[Path] = sorted(root.glob(f"date=*/{stem}.parquet"))
    return ", ".join(
        "'" + str(path).replace("'", "''") + "'" for path in paths if not path.name.startswith(".")
    )
