"""The columns of a foreign file as they stand in it, each row under the key of its lead.

For those who try columns that a mapping leaves out on purpose; nothing of it is landed.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from expectations import mapping
from expectations.mapping_types import Mapping
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.importing.mapping_sql import literal, quote, value_sql
from pipelines.importing.read import receive, receive_beside
from pipelines.importing.split_by_feed import Routing, Window

LEAD_KEY = ("raw_channel_id", "raw_lead_id")
"""Beside the file's own columns: the channel and id of the lead that a row becomes."""


@dataclass(frozen=True)
class RawRows:
    """The rows of a foreign file that are leads."""

    table: pa.Table
    """`LEAD_KEY`, then every column of the file; one row for each lead, in the order of the key."""
    columns: tuple[str, ...]
    """Of the file."""
    decides: frozenset[str]
    """Columns by which the mapping says what happened: the label is made of them."""


def raw_rows(settings: Settings, name: str, file: Path) -> RawRows:
    """Read `file` by the mapping `name`, and return its own columns.

    Raises:
        ImportRejected: The file isn't what the mapping says.
    """
    loaded = mapping.load(name)
    leads = next(route for route in loaded.mapping.routes if route.feed == "leads")
    keys = [leads.source, leads.columns["lead_id"]]
    texts = [value_sql(value, "text", loaded.mapping.missing) for value in keys]
    with (
        connect(settings) as connection,
        tempfile.TemporaryDirectory(prefix=".raw-", dir=settings.home) as workspace,
    ):
        connection.execute(f"attach {literal(f'{workspace}/tables.duckdb')} as tables")
        connection.execute("use tables")
        columns = receive(connection, file, loaded.mapping.file, Path(workspace))
        receive_beside(connection, file, loaded.mapping.beside)
        Routing(connection, loaded, columns, Window(None, None)).prepare()
        named = [f"{sql} as {key}" for sql, key in zip(texts, LEAD_KEY, strict=True)]
        table = connection.sql(
            f"select {', '.join([*named, *map(quote, columns)])} from prepared"
            f" where {leads.where or 'true'}"
            f" qualify row_number() over (partition by {', '.join(texts)} order by row_sha256) = 1"
            f" order by {', '.join(LEAD_KEY)}"
        ).to_arrow_table()
    return RawRows(table, tuple(columns), frozenset(_deciding(loaded.mapping, columns)))


def _deciding(of: Mapping, columns: list[str]) -> Iterator[str]:
    """Yield the columns of the file that conditions and events of the outcomes are made of."""
    said = " ".join(
        text
        for route in of.routes
        if route.feed == "outcomes"
        for event in [route.columns["event"]]
        for text in (route.where or "", *event.from_, event.expression or "")
    )
    for name, expression in reversed(of.define.items()):
        if _names(name, said):
            said += f" {expression}"
    yield from (column for column in columns if _names(column, said))


def _names(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
