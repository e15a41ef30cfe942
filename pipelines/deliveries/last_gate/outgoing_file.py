"""Read outgoing lead files from their bytes, as their receivers do, into one table of text.

The reader is the gate's own: it shares nothing with the code that wrote the files.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

FORMULA = r"^[=+\-@\t\r]"
"""A text that a spreadsheet would run."""
HARMLESS = r"^(\+[0-9]{6,15}|-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?)$"
"""A phone number in E.164 or a number, which no spreadsheet runs."""


@dataclass(frozen=True)
class OutgoingFile:
    """A lead file that is about to leave, as it is before it is sealed."""

    institution_id: str
    """The recipient."""
    path: Path
    """CSV or Parquet, by its suffix."""
    rows: int
    """Number of rows that were meant to be written."""
    earlier: Sequence[str] = ()
    """Match ids that the institution has by the version before."""


def create_outgoing_table(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> None:
    """Create `gate.outgoing` for rows of files, with `columns` as text.

    It also has the number of formulas in all cells of a row, and a hash of them. A formula is a
    cell of a CSV that a spreadsheet would run. The hash makes DuckDB read each cell of a file, also
    of columns that nothing is compared with.
    """
    texts = ", ".join(f"{_quote(name)} varchar" for name in columns)
    connection.execute(
        "create or replace temp table outgoing "
        f"(institution_id varchar, {texts}, formulas bigint, row_hash ubigint)"
    )


def read_columns(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Return the names of the columns of a file.

    Raises:
        OSError, ValueError, duckdb.Error: They can't be read.
    """
    if file.suffix == ".parquet":
        return list(connection.read_parquet(str(file), hive_partitioning=False).columns)
    with file.open(encoding="utf-8-sig", newline="") as text:
        return next(csv.reader(text), [])


def count_rows(connection: duckdb.DuckDBPyConnection, file: Path, names: Sequence[str]) -> int:
    """Return the number of rows of a file with the columns `names`.

    Raises:
        duckdb.Error: The file can't be read.
    """
    (rows,) = connection.execute(f"select count(*) from {_source(file, names)}").fetchall()[0]
    return int(rows)


def append_rows(
    connection: duckdb.DuckDBPyConnection,
    file: OutgoingFile,
    names: Sequence[str],
    columns: Sequence[str],
) -> int:
    """Append the rows of a file to `outgoing` and return their number.

    Of the texts of a CSV the one apostrophe that guards a formula is removed.

    Args:
        connection: With the table.
        file: The lead file.
        names: Its columns.
        columns: The columns of the table; the file may lack some.

    Raises:
        duckdb.Error: A row can't be read; then none was appended.
    """
    is_csv = file.path.suffix != ".parquet"
    cells = [_text(name, is_csv=is_csv) for name in columns if name in names]
    formulas = " + ".join(map(_count_formula, names)) if is_csv else "0"
    query = (
        f"insert into outgoing by name select $institution as institution_id, {', '.join(cells)}, "
        f"{formulas} as formulas, hash({', '.join(map(_quote, names))}) as row_hash "
        f"from {_source(file.path, names)}"
    )
    (rows,) = connection.execute(query, {"institution": file.institution_id}).fetchall()[0]
    return int(rows)


def _source(file: Path, names: Sequence[str]) -> str:
    """Return the table function that reads a file, of CSV every value as text."""
    if file.suffix == ".parquet":
        return f"read_parquet('{_escape(str(file))}', hive_partitioning = false)"
    columns = ", ".join(f"'{_escape(name)}': 'varchar'" for name in names)
    return (
        f"read_csv('{_escape(str(file))}', columns = {{{columns}}}, auto_detect = false, "
        "header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', strict_mode = true)"
    )


def _text(name: str, *, is_csv: bool) -> str:
    column = _quote(name)
    if not is_csv:
        return f"cast({column} as varchar) as {column}"
    return rf"regexp_replace({column}, '^''(''*[=+\-@\t\r])', '\1') as {column}"


def _count_formula(name: str) -> str:
    column = _quote(name)
    is_formula = f"regexp_matches({column}, '{FORMULA}')"
    is_harmless = f"regexp_matches({column}, '{HARMLESS}')"
    return f"coalesce(cast({is_formula} and not {is_harmless} as integer), 0)"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escape(text: str) -> str:
    return text.replace("'", "''")
