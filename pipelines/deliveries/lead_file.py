"""Lead file: write it in the format that an institution chose, and read it back from its bytes.

CSV follows RFC 4180, with times in ISO 8601 to the second and lists separated by `|`. A spreadsheet
runs a text that begins with = + - @ as a formula, and the text of leads is untrusted input. So such
a text gets an apostrophe in front, which spreadsheets take as "this is text" and hide. A phone
number in E.164 begins with + and must reach a dialling program unchanged; it is digits only, which
no spreadsheet can run, so it gets no apostrophe. Numbers and dates are no text and get none either.
Parquet needs none of this.

The last column states the version of the file's contract. Parquet has it in its metadata as well,
so that a file without rows states it too.
"""

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from expectations.outbound_contracts import VERSION
from pipelines.core.publishing import write_parquet

Format = Literal["csv", "parquet"]

BOM = b"\xef\xbb\xbf"
FORMULA = r"^'*[=+\-@\t\r]"
"""Leading apostrophes count too, so that removing one restores any text."""
PHONE = r"^\+[0-9]{6,15}$"


def write(
    table: pa.Table,
    path: Path,
    *,
    schema_version: int | None = None,
    bom: bool = False,
    time_unit: str = "s",
) -> None:
    """Write `table` in the format of the suffix of `path`; equal tables give equal bytes.

    Args:
        table: The rows.
        path: The file; `.parquet` or `.csv`.
        schema_version: The version of the contract, which the file states; None: it states none.
        bom: Whether a CSV begins with a byte order mark, by which spreadsheets know UTF-8.
        time_unit: The unit of times in a CSV; `us` is the form of schema version 1.
    """
    if schema_version is not None:
        version = pa.repeat(pa.scalar(schema_version, pa.int64()), table.num_rows)
        table = table.append_column(VERSION, version)
        table = table.replace_schema_metadata({VERSION: f"{schema_version}"})
    if path.suffix == ".parquet":
        write_parquet(table, path)
        return
    columns = [_to_csv(table[name], time_unit) for name in table.column_names]
    with path.open("wb") as file:
        file.write(BOM if bom else b"")
        csv.write_csv(
            pa.table(columns, names=table.column_names),
            file,
            csv.WriteOptions(quoting_style="needed"),
        )


def read(path: Path) -> pa.Table:
    """Return the table as a receiver reads it; of CSV every value as text, without apostrophes."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with path.open("rb") as file:
        names = csv.open_csv(file).schema.names
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    columns = [
        pc.replace_substring_regex(table[name], pattern=r"^'('*[=+\-@\t\r])", replacement=r"\1")
        for name in names
    ]
    return pa.table(columns, names=names)


def _to_csv(column: pa.ChunkedArray, time_unit: str) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp(time_unit, column.type.tz), safe=False)
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_list(column.type):
        column = pc.binary_join(column, "|")
    if not pa.types.is_string(column.type):
        return column
    is_formula = pc.and_not(
        pc.match_substring_regex(column, FORMULA), pc.match_substring_regex(column, PHONE)
    )
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", column, ""), column)
