"""Erase persons from one table, in Parquet or Arrow's format, row group by row group.

Rows of others stay, in their order, and are written as the publishing step writes them: equal rows
give equal bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import feather

from pipelines.core.arrays import BoolArray
from pipelines.core.publishing import ROW_GROUP, open_parquet, write_batches
from pipelines.persons.places import Place, Treatment
from pipelines.persons.subjects import CODE, NO_WORD, Subjects, flag, join_keys, join_pairs

LEAD_COLUMNS = ("channel_id", "lead_id")
LINKED_COLUMNS = (
    ("canonical_channel_id", "canonical_lead_id"),
    ("first_channel_id", "first_lead_id"),
)
"""Columns of a row that name another lead: of the same person, or of one with the same phone."""
OWNER_HASH = "owner_id_number_sha256"
HASHES = (
    *("id_number_sha256", "phone_sha256", "person_key", "buyer_sha256", "seller_sha256"),
    OWNER_HASH,
)
NUMBERS = ("buyer_id", "seller_id")
"""Columns with the identity number of a business."""
RECEIVED = ("received", "message", "sent")
"""Columns with the text of a row as it was received."""
LINES = ("file", "line")


@dataclass(frozen=True)
class Hits:
    """The rows of a table that an erasure changes."""

    own: BoolArray
    """Rows of a person."""
    linked: BoolArray
    """Rows of others that refer to a person's lead."""

    @property
    def any(self) -> BoolArray:
        """Return the rows of both."""
        return self.own | self.linked


@dataclass(frozen=True)
class Lines:
    """Rows of landed files, by path below landing/ and line."""

    keys: pa.Array
    """PATH:LINE."""
    names: pa.Array
    """NAME:LINE, as records of the simulated world have it."""

    @classmethod
    def of(cls, rows: pa.Table) -> "Lines":
        """Return the rows of a table with `path` and `line`."""
        paths, lines = rows["path"], rows["line"].cast(pa.string())
        names = pc.replace_substring_regex(paths, "^.*/", "")
        keys = (pc.binary_join_element_wise(each, lines, ":") for each in (paths, names))
        return cls(*(each.combine_chunks() for each in keys))


def count_hits(path: Path, place: Place | None, subjects: Subjects, lines: Lines) -> int:
    """Return the number of rows that an erasure changes; it reads the columns that name persons."""
    schema = read_schema(path)
    names = [name for name in schema.names if _names_persons(name, place)]
    if not names:
        return 0
    return sum(
        int(find_hits(batch, place, subjects, lines).any.sum())
        for batch in read_batches(path, names)
    )


def rewrite(path: Path, target: Path, place: Place | None, subjects: Subjects, lines: Lines) -> int:
    """Write the table without the persons to `target`; return the number of changed rows."""
    schema, changed = read_schema(path), 0

    def edited() -> Iterator[pa.RecordBatch]:
        nonlocal changed
        for batch in read_batches(path, schema.names):
            hits = find_hits(batch, place, subjects, lines)
            changed += int(hits.any.sum())
            yield from edit_rows(batch, place, subjects, hits).cast(schema).to_batches()

    if path.suffix == ".arrow":
        table = pa.Table.from_batches(list(edited()), schema)
        feather.write_feather(table, target, compression="uncompressed")
    else:
        write_batches(edited(), schema, target)
    return changed


def read_schema(path: Path) -> pa.Schema:
    """Return the columns of a table."""
    if path.suffix == ".arrow":
        return feather.read_table(path).schema
    return pq.read_schema(path)


def read_batches(path: Path, names: list[str]) -> Iterator[pa.Table]:
    """Yield the rows of a table, some at once."""
    if path.suffix == ".arrow":
        yield feather.read_table(path, columns=names)
        return
    with open_parquet(path) as file:
        for batch in file.iter_batches(ROW_GROUP, columns=names):
            yield pa.Table.from_batches([batch])


def find_hits(rows: pa.Table, place: Place | None, subjects: Subjects, lines: Lines) -> Hits:
    """Return the rows of `rows` that name one of the persons."""
    own, linked = (np.zeros(rows.num_rows, np.bool_) for _ in range(2))
    names = set(rows.column_names)
    treatment: Treatment = place.treatment if place else "remove"
    if names.issuperset(LEAD_COLUMNS):
        own |= flag(join_keys(*(rows[name] for name in LEAD_COLUMNS)), subjects.lead_keys)
    for columns in LINKED_COLUMNS:
        if names.issuperset(columns):
            linked |= flag(join_keys(*(rows[name] for name in columns)), subjects.lead_keys)
    if "match_id" in names:
        own |= flag(rows["match_id"], subjects.match_ids)
    if treatment == "orders":
        return Hits(own | _find_orders(rows, subjects), linked)
    for name in names.intersection(HASHES):
        kinds = ("id_number_sha256", "phone_sha256", *([OWNER_HASH] if name == OWNER_HASH else []))
        own |= flag(rows[name], subjects.values_of(*kinds))
    for name in names.intersection(NUMBERS):
        own |= flag(rows[name], subjects.values_of("id_number"))
    if treatment == "blank" or "sent" in names:
        own |= _find_received(rows, subjects, lines)
    return Hits(own, linked)


def _names_persons(name: str, place: Place | None) -> bool:
    linked = {column for columns in LINKED_COLUMNS for column in columns}
    known = {*LEAD_COLUMNS, *linked, *HASHES, *NUMBERS, "match_id", "subject", "subject_type"}
    received = {*RECEIVED, *LINES} if place and place.treatment in {"blank", "unlink"} else set()
    return name in known | received


def _find_orders(rows: pa.Table, subjects: Subjects) -> BoolArray:
    """Return the orders that name a lead in plain and that an order by hash makes needless."""
    if not {"subject", "subject_type"}.issubset(rows.column_names):
        return np.zeros(rows.num_rows, np.bool_)
    is_lead = np.asarray(pc.fill_null(pc.equal(rows["subject_type"], "lead"), fill_value=False))
    found: BoolArray = is_lead & flag(rows["subject"], subjects.hashed_leads)
    return found


def _find_received(rows: pa.Table, subjects: Subjects, lines: Lines) -> BoolArray:
    """Return the rows whose text has a word of a person, or that are about an erased line."""
    found = np.zeros(rows.num_rows, np.bool_)
    if {*LINES}.issubset(rows.column_names):
        keys = pc.binary_join_element_wise(rows["file"], rows["line"].cast(pa.string()), ":")
        found |= flag(keys, lines.keys) | flag(keys, lines.names)
    words = pa.array([word.decode() for word in subjects.words], pa.string())
    for name in set(RECEIVED).intersection(rows.column_names):
        found |= _have_words(rows[name].combine_chunks(), words)
    return found


def _have_words(texts: pa.Array, words: pa.Array) -> BoolArray:
    """Return whether each text has one of `words`."""
    parts = pc.split_pattern_regex(pc.fill_null(texts, ""), pattern=NO_WORD)
    hits = flag(pc.list_flatten(parts), words)
    found = np.zeros(len(texts), np.bool_)
    found[np.asarray(pc.list_parent_indices(parts))[hits]] = True
    return found


def edit_rows(rows: pa.Table, place: Place | None, subjects: Subjects, hits: Hits) -> pa.Table:
    """Return the rows as they remain."""
    treatment: Treatment = place.treatment if place else "remove"
    if not hits.any.any():
        return rows
    removed = hits.own
    if treatment == "account":
        removed = hits.own & ~_find_billed(rows, subjects)
    edited = _replace_ids(rows, subjects)
    if treatment in {"remove", "orders", "account"}:
        edited, own = edited.filter(pa.array(~removed)), hits.own[~removed]
    else:
        own = hits.own
    keep = place.keep if place else None
    for index, field in enumerate(edited.schema):
        if keep is not None and field.name not in keep:
            edited = _empty(edited, index, own)
        elif field.name == "reason" and treatment == "account":
            is_text = pc.invert(pc.match_substring_regex(edited[field.name], f"^{CODE.pattern}$"))
            is_text = np.asarray(pc.fill_null(is_text, fill_value=False))
            edited = _empty(edited, index, own & is_text)
    return edited


def _empty(rows: pa.Table, index: int, own: BoolArray) -> pa.Table:
    """Return the rows with a missing value in the column `index` of the person's rows."""
    field = rows.schema.field(index)
    emptied = pc.if_else(pa.array(own), pa.scalar(None, field.type), rows[field.name])
    return rows.set_column(index, field, emptied)


def _find_billed(rows: pa.Table, subjects: Subjects) -> BoolArray:
    """Return the rows about a match that an institution received."""
    found = np.zeros(rows.num_rows, np.bool_)
    if "match_id" in rows.column_names:
        found |= flag(rows["match_id"], subjects.billed_matches)
    if {*LEAD_COLUMNS, "institution_id"}.issubset(rows.column_names):
        found |= flag(join_pairs(rows), subjects.billed_pairs)
    return found


def _replace_ids(rows: pa.Table, subjects: Subjects) -> pa.Table:
    """Return the rows with a token in place of each id of a person's lead or match."""
    for channel, lead in (LEAD_COLUMNS, *LINKED_COLUMNS):
        if {channel, lead}.issubset(rows.column_names):
            index = pc.index_in(join_keys(rows[channel], rows[lead]), value_set=subjects.lead_keys)
            rows = _put(rows, lead, subjects.lead_tokens.take(pa.array(index.combine_chunks())))
    if "match_id" in rows.column_names:
        index = pc.index_in(rows["match_id"], value_set=subjects.match_ids)
        rows = _put(rows, "match_id", subjects.match_tokens.take(pa.array(index.combine_chunks())))
    return rows


def _put(rows: pa.Table, name: str, replaced: pa.Array) -> pa.Table:
    column = pc.coalesce(replaced, rows[name].cast(pa.string()))
    position = rows.schema.get_field_index(name)
    return rows.set_column(position, rows.schema.field(position), column.cast(rows[name].type))
