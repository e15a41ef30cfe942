"""Read an outgoing lead file from its bytes, as its receiver does, into a table of text.

The reader is the gate's own: it shares nothing with the code that wrote the file.
"""

import csv
from pathlib import Path

import duckdb

TABLE = "gate.rows"

FORMULA = r"^[=+\-@\t\r]"
"""A text that a spreadsheet would run."""
HARMLESS = r"^(\+[0-9]{6,15}|-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?)$"
"""A phone number in E.164 or a number, which no spreadsheet runs."""


def load_rows(connection: duckdb.DuckDBPyConnection, file: Path) -> tuple[list[str], int, int]:
    """Create table `gate.rows` with the file's rows as text; return columns, rows and formulas.

    A formula is a cell of a CSV that a spreadsheet would run. Of the texts of a CSV the one
    apostrophe that guards such a text is removed.
    """
    is_csv = file.suffix != ".parquet"
    names = _create_raw_rows(connection, file, is_csv=is_csv)
    cells = ", ".join(f"{_text(name, is_csv=is_csv)} as {_quote(name)}" for name in names)
    connection.execute(f"create or replace temp table outgoing as select {cells} from raw_rows")
    formulas = 0
    if is_csv:
        tests = " + ".join(f"coalesce(sum({_is_formula(name)}), 0)" for name in names)
        (formulas,) = connection.execute(f"select {tests} from raw_rows").fetchall()[0]
    (rows,) = connection.execute("select count(*) from outgoing").fetchall()[0]
    connection.execute("drop view raw_rows")
    return names, int(rows), int(formulas)


def _create_raw_rows(
    connection: duckdb.DuckDBPyConnection, file: Path, *, is_csv: bool
) -> list[str]:
    if not is_csv:
        relation = connection.read_parquet(str(file), hive_partitioning=False)
        relation.create_view("raw_rows", replace=True)
        return list(relation.columns)
    with file.open(encoding="utf-8-sig", newline="") as text:
        names = next(csv.reader(text), [])
    columns = ", ".join(f"'{_escape(name)}': 'varchar'" for name in names)
    connection.execute(
        f"create or replace view raw_rows as from read_csv('{_escape(str(file))}', "
        f"columns = {{{columns}}}, auto_detect = false, header = true, delim = ',', "
        "quote = '\"', escape = '\"', nullstr = '', strict_mode = true)"
    )
    return names


def _text(name: str, *, is_csv: bool) -> str:
    text = f"cast({_quote(name)} as varchar)"
    return rf"regexp_replace({text}, '^''(''*[=+\-@\t\r])', '\1')" if is_csv else text


def _is_formula(name: str) -> str:
    column = _quote(name)
    is_formula = f"regexp_matches({column}, '{FORMULA}')"
    return f"cast({is_formula} and not regexp_matches({column}, '{HARMLESS}') as integer)"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escape(text: str) -> str:
    return text.replace("'", "''")
