"""The keys that broken records and misspelt ids name, so that what they withdraw or end is closed.

A record that can't be read may be a copy of a known lead with its withdrawal, or of a product or an
institution with its end. Its key is looked for where the header or the JSON key says that it
is, and counts only where it is a known key of the same source.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import duckdb

from expectations.contracts import Contract
from pipelines.ingest.lake_history import select_history
from pipelines.ingest.reading.records import RejectedRecord
from pipelines.ingest.reading.text_formats import Header

QUOTES = " \t\r\n\"'\ufeff"
OTHER_DELIMITERS = re.compile(r"[;\t|]")
LINE_RULE = "line_end"
"""Rule of a record with bare carriage returns: each of its parts may be a record of its own."""

INVISIBLE = r"[\s\p{Z}\p{C}]"
"""Regular expression of DuckDB: white space and characters without a glyph."""
SEPARATORS = r"[^\p{L}\p{N}]"


def key_column(contract: Contract) -> str | None:
    """Return the column whose value a broken row is searched for; None where no search helps.

    Each row of a list of orders or rules restricts, and an unreadable one closes more than it
    names.
    """
    return contract.key[-1] if contract.safer_first and contract.on_unreadable else None


def find_keys(
    record: RejectedRecord, name: str, header: Header | None, *, is_cut: bool
) -> Iterator[str]:
    """Yield the values that a rejected record may have in the column `name`, each once.

    Args:
        record: The record as received.
        name: The column of the key.
        header: The names of a CSV; None: the record is a line of JSON.
        is_cut: Whether the record is a last line without line end: its last value may be cut.
    """
    text = record.received.replace("\0", "")
    parts = text.split("\r") if record.rule == LINE_RULE else [text]
    found: dict[str, None] = {}
    for part in parts:
        values = (
            _find_json_values(part, name)
            if header is None
            else _find_csv_values(part, header.index(name), len(header), is_cut=is_cut)
        )
        found |= dict.fromkeys(value for value in values if value)
    yield from found


def _find_csv_values(line: str, place: int, names: int, *, is_cut: bool) -> Iterator[str]:
    """Yield the fields that may be the one at `place`.

    As many fields as are too many or missing may be before it.
    """
    fields = line.split(",")
    if len(fields) == 1:
        fields = OTHER_DELIMITERS.split(line)
    missing, extra = max(0, names - len(fields)), max(0, len(fields) - names)
    known = fields[:-1] if is_cut else fields
    for field in known[max(0, place - missing) : place + extra + 1]:
        yield field.strip(QUOTES)


def _find_json_values(line: str, name: str) -> Iterator[str]:
    """Yield the values of a key in a line of damaged JSON; a value without an end is left out."""
    for match in _json_pattern(name).finditer(_decode_twice(line)):
        double, single, bare = match.groups()
        if double is not None:
            yield _unescape(double)
        value = double or single or bare or ""
        yield value.strip(f"{QUOTES},;:")


@cache
def _json_pattern(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"""["']?\b{name}\b["']?+\s*+[:=]?+\s*+"""
        r"""(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"',}\]:=]+)(?=[\s"',}\]]))"""
    )


def _decode_twice(line: str) -> str:
    """Return the text of a line of JSON that is itself encoded as a string."""
    if not line.lstrip().startswith('"'):
        return line
    try:
        text = json.loads(line)
    except ValueError:
        return line
    return text if isinstance(text, str) else line


def _unescape(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"')).strip()
    except ValueError:
        return text


def normalise_ids(contract: Contract, ids: Sequence[str | None]) -> list[str | None]:
    """Return ids as they are compared with the known ones.

    The ids of institutions have one case, so a name in capitals or full-width letters is one of
    them; the ids of products and leads may differ in their case alone.
    """
    if not _has_one_case(contract):
        return list(ids)
    return [text and unicodedata.normalize("NFKC", text).lower() for text in ids]


def _has_one_case(contract: Contract) -> bool:
    """Return whether the contract allows only small letters in the key."""
    name = key_column(contract)
    pattern = contract[name].pattern if name else None
    return bool(pattern) and not re.search(pattern or "", "A")


def _normalise_sql(contract: Contract, column: str) -> str:
    """Return SQL of an id without what a typing error adds: white space, or every separator."""
    if _has_one_case(contract):
        return f"regexp_replace(lower({column}), '{SEPARATORS}', '', 'g')"
    return f"regexp_replace({column}, '{INVISIBLE}', '', 'g')"


def _known_keys_sql(contract: Contract, history: Sequence[Path]) -> str:
    """Return SQL of the loaded keys: `source`, `known_key`, `known_on`; of view `shard_rows` too.

    An institution may be on the list of any platform.
    """
    name = key_column(contract)
    if name is None:
        return "select null as source, null as known_key, null as known_on where false"
    source = "null" if _has_one_case(contract) else contract.source_column
    parts: Iterable[str] = ["(from shard_rows anti join shard_dropped using (row))"]
    if history:
        parts = [*parts, f"({select_history(history)})"]
    return " union all ".join(
        f"select {source} as source, {name} as known_key, min(known_on) as known_on "
        f"from {part} group by all"
        for part in parts
    )


def create_unreadable_table(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    history: Sequence[Path],
    unreadable: str,
) -> None:
    """Create the table `shard_unreadable`: with the known key of each row that names one.

    Args:
        connection: With the table `files` and the views `shard_rows` and `shard_dropped`.
        contract: The feed's.
        history: Lake files of the feed in partitions that this run does not build.
        unreadable: SQL of the rows by `UNREADABLE`. Where `found_key` is known it becomes the key
            of the row, and `is_found` is true.
    """
    connection.execute(
        f"create or replace temp table wanted as select distinct "
        f"{_normalise_sql(contract, 'found_key')} as wanted_key "
        f"from {unreadable} where found_key is not null"
    )
    name = key_column(contract)
    if name is None or not connection.execute("select 1 from wanted limit 1").fetchall():
        connection.execute(
            "create or replace temp table shard_unreadable as "
            f"select * exclude (found_key), false as is_found from {unreadable}"
        )
        return
    spelt = f"case when regexp_matches(found_key, '{contract[name].pattern}') then found_key end"
    if not _has_one_case(contract):
        spelt = "cast(null as text)"
    connection.execute(
        f"""
        create or replace temp table shard_unreadable as
        with keys as ({_known_keys_sql(contract, history)}),
        known as (
            select keys.*, wanted_key
            from keys
            inner join wanted on {_normalise_sql(contract, "known_key")} = wanted_key
            where wanted_key <> ''
        )
        select distinct
            broken.* exclude (found_key)
                replace (coalesce(broken.{name}, known_key, {spelt}) as {name}),
            broken.{name} is null and coalesce(known_key, {spelt}) is not null as is_found
        from {unreadable} as broken
        inner join files using (task)
        left join known
            on {_normalise_sql(contract, "broken.found_key")} = known.wanted_key
                and coalesce(known.source = files.source, true)
                and known.known_on <= cast(files.known_on as date)
        """
    )
