"""Arrow schemas of `marts/date=D/*.parquet`, derived from the property files of dbt's marts."""

import pyarrow as pa

from expectations.tables import Table, load_tables

ARROW_TYPES = {
    "varchar": pa.string(),
    "varchar[]": pa.list_(pa.string()),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}


def _schema(table: Table) -> pa.Schema:
    return pa.schema([(name, ARROW_TYPES[column.data_type]) for name, column in table.items()])


SCHEMAS = {
    name: _schema(table)
    for name, table in load_tables("marts").items()
    if name != "lead_features"  # a view inside the warehouse, not published
}
