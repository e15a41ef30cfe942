"""Rows that were received and not loaded: the ones in quarantine/, and who they name.

A row that broke its contract has no lead in the lake, and what it has of a person is held all the
same: in quarantine/, and in the landed file. It is kept as it was received, so its numbers and
phones are sought among all of its fields.
"""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.database import query_table
from pipelines.core.identifier_key import create_keyed_hash_macro, load_identifier_key
from pipelines.core.settings import Settings
from pipelines.ingest.phones import E164, normalise_phones
from pipelines.persons.identify import REJECTED, ROWS, SQL

VALUES = pa.schema(
    [*ROWS, ("kind", pa.string()), ("value", pa.string()), ("is_number", pa.bool_())]
)
"""`kind` is `id_number` or `phone`, as which `value` is normalised. `is_number`: it has the form of
a number that names one person or business."""
NUMBER = "^([0-9]{17}[0-9X]|[0-9]{8}[0-9A-Z]{10})$"


def create_rejected_view(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Create the table `rejected_values` (`VALUES`) of the quarantined rows of leads."""
    files = [str(path) for path in settings.quarantine.glob("leads/date=*/quarantine.parquet")]
    values = VALUES.empty_table()
    if files:
        fields = query_table(connection, SQL / "rejected_values.sql", {"files": sorted(files)})
        values = pa.concat_tables([_as_numbers(fields), _as_phones(fields)])
    connection.register("rejected_values", values)


def _as_numbers(fields: pa.Table) -> pa.Table:
    kinds = pa.repeat("id_number", fields.num_rows)
    is_number = pc.match_substring_regex(fields["number"], NUMBER)
    columns = [*(fields[name] for name in ROWS.names), kinds, fields["number"], is_number]
    return pa.table(columns, names=VALUES.names).cast(VALUES)


def _as_phones(fields: pa.Table) -> pa.Table:
    phones, _ = normalise_phones(fields["field"], fields["channel_id"])
    kinds = pa.repeat("phone", fields.num_rows)
    is_number = pa.array([False] * fields.num_rows, pa.bool_())
    columns = [*(fields[name] for name in ROWS.names), kinds, phones, is_number]
    table = pa.table(columns, names=VALUES.names).cast(VALUES)
    return table.filter(pc.match_substring_regex(table["value"], E164))


def find_rejected(
    connection: duckdb.DuckDBPyConnection, settings: Settings, asked: pa.Table
) -> pa.Table:
    """Return the rejected rows (`REJECTED`) of persons without a lead, with `is_ambiguous`.

    Args:
        connection: With the table `rejected_values` and the view `leads` of the lake.
        settings: Where the key of identifiers is.
        asked: The persons, by the keyed hash of a phone or number (`ASKED`).
    """
    create_keyed_hash_macro(connection, load_identifier_key(settings))
    connection.register("asked", asked)
    rows = query_table(connection, SQL / "find_rejected.sql")
    connection.unregister("asked")
    return rows.cast(REJECTED.append(pa.field("is_ambiguous", pa.bool_())))
