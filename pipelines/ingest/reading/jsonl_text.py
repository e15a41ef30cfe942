"""JSON Lines: one object a line."""

import json

import duckdb
import numpy as np
import pyarrow as pa

from expectations.contracts import Column, Contract
from pipelines.ingest.reading.batch_small_files import Together
from pipelines.ingest.reading.records import Rejected
from pipelines.ingest.reading.text_table import UNTYPABLE, query, text_table

SUSPICIOUS = r"^[\[{]|^-?[0-9]+\.|^-?[0-9.]+[eE]"
"""Only such text can come from an object, an array or a fraction; the rest is not asked."""

BROKEN = """
    select
        case
            when not json_valid(received) then true
            when json_type(received) != 'OBJECT' then true
            else len(json_keys(received)) != len(list_distinct(json_keys(received)))
        end as is_broken
    from received
"""
"""Cases, because DuckDB may look at both sides of an `or`, and fails on what is no JSON."""


def jsonl_texts(
    connection: duckdb.DuckDBPyConnection, contract: Contract, together: Together
) -> tuple[pa.Table, list[tuple[int, Rejected]]]:
    """Take lines apart.

    Returns:
        The rows as text (`text_schema`), and those that are no object or name a key twice, each
        with the position of its file.
    """
    lineage = together.lineage()
    is_broken = query(connection, BROKEN, lineage)["is_broken"].to_numpy()
    rejected = [
        together.rejected(row, "json", "the line is no JSON object whose keys differ")
        for row in np.flatnonzero(is_broken).tolist()
    ]
    sound = lineage.filter(pa.array(~is_broken))
    values = query(connection, _values_sql(contract), sound)
    columns = {name: values[name] for name in values.schema.names} | {
        name: sound[name] for name in sound.schema.names
    }
    return text_table(contract, columns), rejected


def _values_sql(contract: Contract) -> str:
    structure = json.dumps(dict.fromkeys(contract.names, "VARCHAR"))
    without = json.dumps(dict.fromkeys(contract.names))
    columns = ",\n".join(f"{_value(column)} as {column.name}" for column in contract.columns)
    return f"""
        with objects as (
            select received, from_json(received, '{structure}') as v from received
        )
        select
            {columns},
            nullif(cast(json_merge_patch(received, '{without}') as varchar), '{{}}') as extras
        from objects
    """


def _value(column: Column) -> str:
    """Return the SQL of a column's value; what isn't a single value is made untypable.

    A fraction in a text column is untypable as well: it went through binary on its way here, so
    it may not be the text that was sent.
    """
    value, path = f"v.{column.name}", f"'$.{column.name}'"
    kinds = "'OBJECT', 'ARRAY', 'DOUBLE'" if column.type == "text" else "'OBJECT', 'ARRAY'"
    of_list = (
        f"when json_type(received, {path}) = 'ARRAY' "
        f"then array_to_string(from_json({value}, '[\"VARCHAR\"]'), '|') "
        if column.type == "list"
        else ""
    )
    return (
        f"case when not regexp_matches({value}, '{SUSPICIOUS}') then {value} "
        f"{of_list}"
        f"when json_type(received, {path}) in ({kinds}) then chr({ord(UNTYPABLE)}) "
        f"else {value} end"
    )
