"""dbt's sources, derived from the contracts: `dbt_project/staging/_sources.yml`.

dbt reads the lake's Parquet as it lies. For a feed that nothing has come in for yet, an empty
file with its columns (the run's `typed` folder) stands in, so no table lacks its source.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain

from expectations.contracts import Column, Contract

PATH = "dbt_project/staging/_sources.yml"

DUCKDB_TYPES = {
    "text": "varchar",
    "list": "varchar[]",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
}

HEADER = """\
# Derived from expectations/contracts/*.yml by `python -m expectations.derive`; edit those instead.
sources:
  - name: lake
    description: The checked rows of every feed, by the business date on which they became known.
    tables:\
""".splitlines()

PARTITION = Column(
    name="date", type="date", description="Business date on which the row became known."
)


def sources_yml(contracts: Iterable[Contract]) -> str:
    """Return the text of dbt's source `lake`, one table per feed."""
    return "".join(f"{line}\n" for line in (*HEADER, *chain.from_iterable(map(_table, contracts))))


def _table(contract: Contract) -> Iterator[str]:
    names = {column.name for column in contract.lake_columns}
    # A feed's own `date` would clash with the folder's; such a table tells its day by `known_at`.
    partitioned = PARTITION.name not in names
    yield f"      - name: {contract.feed}"
    yield f"        description: {json.dumps(contract.description, ensure_ascii=False)}"
    yield "        config:"
    yield "          meta:"
    yield "            external_location: >-"
    yield "              read_parquet(['{{ var(\"typed\") }}/{name}.parquet',"
    yield "              '{{ var(\"lake\") }}/{name}/date=*/{name}.parquet'],"
    yield (
        f"              hive_partitioning = {str(partitioned).lower()}, union_by_name = true, "
        "allow_empty = true)"
    )
    yield "        columns:"
    for column in (*contract.lake_columns, *((PARTITION,) if partitioned else ())):
        yield f"          - {_column(column)}"


def _column(column: Column) -> str:
    data_type = DUCKDB_TYPES[column.type]
    quoted = json.dumps(data_type) if "[" in data_type else data_type
    description = json.dumps(column.description, ensure_ascii=False)
    return f"{{name: {column.name}, data_type: {quoted}, description: {description}}}"
