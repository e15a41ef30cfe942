"""CSV: the header, and records split into fields."""

import csv
from collections import Counter

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv

from expectations.contracts import Contract
from pipelines.core.errors import FileRejected
from pipelines.ingest.reading.batch_small_files import Together
from pipelines.ingest.reading.records import Rejected
from pipelines.ingest.reading.text_table import as_json, text_table

Header = tuple[str, ...]


def header_of(contract: Contract, record: bytes) -> Header:
    """Return the names in the header record.

    Raises:
        FileRejected: A name stands twice or a required column is missing. No name is quoted: in
            a file without a header they would be the first row's values.
    """
    lines = record.decode("utf-8").splitlines(keepends=True)
    header = tuple(name.strip() for name in next(csv.reader(lines)))
    check_names(contract, header)
    return header


def check_names(contract: Contract, names: Header) -> None:
    """Refuse a file whose columns are not those of the contract (unknown ones may be there)."""
    if missing := [name for name in contract.required if name not in names]:
        raise FileRejected(
            "header",
            f"required columns are missing: {', '.join(missing)}; the header has "
            f"{len(set(names) & set(contract.names))} columns of the {contract.feed} contract and "
            f"{len(set(names) - set(contract.names))} others",
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        known = [name for name in twice if name in contract.names]
        raise FileRejected(
            "header",
            f"{len(twice)} column names stand more than once in the header"
            + (f", among them: {', '.join(known)}" if known else ""),
        )


def csv_texts(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    header: Header,
    together: Together,
) -> tuple[pa.Table, list[tuple[int, Rejected]]]:
    """Split records that share a header.

    Returns:
        The rows as text (`text_schema`), and those that have too many or too few fields, each
        with the position of its file.
    """
    skipped: list[tuple[int, int]] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        skipped.append((row.number - 1, row.actual_columns))
        return "skip"

    fields = pyarrow.csv.read_csv(
        pa.BufferReader(together.data),
        # One block: rows are then numbered from 1, and no field is cut at a block's border.
        pyarrow.csv.ReadOptions(
            column_names=header, use_threads=False, block_size=len(together.data) + 1
        ),
        pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )
    is_kept = np.ones(len(together), bool)
    is_kept[[row for row, _ in skipped]] = False
    rejected = [
        together.rejected(
            row,
            "fields",
            f"the row has {actual} fields and the header names {len(header)}; a separator in a "
            "value needs quotes, and a new column a new file with its own header",
        )
        for row, actual in skipped
    ]
    known = {name: fields[name] for name in header if name in contract.names}
    unknown = [name for name in header if name not in contract.names]
    extras = {"extras": as_json(connection, fields.select(unknown))} if unknown else {}
    lineage = together.lineage().filter(pa.array(is_kept))
    columns = known | extras | {name: lineage[name] for name in lineage.schema.names}
    return text_table(contract, columns), rejected
