"""The original columns of a foreign file, each row with the key of its lead.

The leak check tests with them the columns that a mapping omits; nothing is landed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from expectations import mapping
from expectations.mapping_types import Mapping
from pipelines.core.settings import Settings
from pipelines.importing.import_file import open_workspace
from pipelines.importing.mapping_sql import quote, value_sql
from pipelines.importing.read_source import read_companion_tables, read_source
from pipelines.importing.split_by_feed import DateWindow, FeedSplitter

LEAD_KEY = ("raw_channel_id", "raw_lead_id")
"""Channel and id of the lead that a row becomes, besides the file's own columns."""


@dataclass(frozen=True)
class SourceRows:
    """The rows of a foreign file that are leads, with its own columns."""

    table: pa.Table
    """`LEAD_KEY`, then every column of the file; one row for each lead, in the order of the key."""
    columns: tuple[str, ...]
    """The columns of the file."""
    outcome_columns: frozenset[str]
    """The columns that the mapping derives outcomes, and so labels, from."""


def read_source_rows(settings: Settings, name: str, file: Path) -> SourceRows:
    """Read `file` by the mapping `name`; return its leads with their original columns.

    Raises:
        ImportRejected: The file does not fit the mapping.
    """
    loaded = mapping.load(name)
    leads = next(route for route in loaded.mapping.routes if route.feed == "leads")
    keys = [leads.source, leads.columns["lead_id"]]
    texts = [value_sql(value, "text", loaded.mapping.missing) for value in keys]
    with open_workspace(settings) as connection:
        columns = read_source(connection, file, loaded.mapping.file)
        read_companion_tables(connection, file, loaded.mapping.beside)
        FeedSplitter(connection, loaded, columns, DateWindow(None, None)).prepare_rows()
        selected = [f"{sql} as {key}" for sql, key in zip(texts, LEAD_KEY, strict=True)]
        table = connection.sql(
            f"select {', '.join([*selected, *map(quote, columns)])} from prepared"
            f" where {leads.where or 'true'}"
            f" qualify row_number() over (partition by {', '.join(texts)} order by row_sha256) = 1"
            f" order by {', '.join(LEAD_KEY)}"
        ).to_arrow_table()
    return SourceRows(table, tuple(columns), frozenset(_outcome_columns(loaded.mapping, columns)))


def _outcome_columns(mapping_: Mapping, columns: list[str]) -> Iterator[str]:
    """Yield the columns of the file in the conditions and events of the outcomes."""
    expressions = " ".join(
        text
        for route in mapping_.routes
        if route.feed == "outcomes"
        for event in [route.columns["event"]]
        for text in (route.where or "", *event.from_, event.expression or "")
    )
    for name, expression in reversed(mapping_.define.items()):
        if _is_named(name, expressions):
            expressions += f" {expression}"
    yield from (column for column in columns if _is_named(column, expressions))


def _is_named(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
