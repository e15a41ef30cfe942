"""The columns of dbt's tables by (table, column), read from dbt's own property files.

A column's meaning is written once: in a contract, or as a docs block in `dbt_project/docs/`, or in
the property file of the one table that has it. Everything else that describes columns (the
registry's `features.json`, model cards, the data dictionary) reads it here. A test compares this
reader with dbt's manifest.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from expectations.strict_model import StrictModel

FOLDER = Path(__file__).resolve().parents[1] / "dbt_project"

DOCS_BLOCK = re.compile(r"{%\s*docs\s+(\w+)\s*%}(.*?){%\s*enddocs\s*%}", re.DOTALL)
DOCS_REFERENCE = re.compile(r"{{\s*doc\('(\w+)'\)\s*}}")


class TableColumn(StrictModel):
    """One column of a table of the warehouse."""

    name: str
    data_type: str
    """DuckDB's type."""
    description: str
    docs_block: str | None = None
    """The docs block that states the meaning: `leads__amount` is the column of that feed."""


Table = Mapping[str, TableColumn]
"""Column name -> column, in the order of the table."""


@cache
def load_tables(layer: str) -> Mapping[str, Table]:
    """Return table -> columns, of the tables of one layer whose columns are declared."""
    blocks = load_docs_blocks()
    files = sorted((FOLDER / layer).glob("*.yml"))
    properties = (yaml.load(file.read_text("utf-8"), yaml.CSafeLoader) for file in files)
    return {
        model["name"]: {
            column["name"]: TableColumn(
                name=column["name"],
                data_type=column["data_type"],
                description=DOCS_REFERENCE.sub(
                    lambda reference: blocks[reference[1]], column["description"]
                ),
                docs_block=_name_block(column["description"]),
            )
            for column in model["columns"]
        }
        for file in properties
        for model in file.get("models", ())
        if "columns" in model
    }


def _name_block(description: str) -> str | None:
    """Return the docs block that a description consists of; None for other text."""
    reference = DOCS_REFERENCE.fullmatch(description.strip())
    return reference[1] if reference else None


@cache
def load_docs_blocks() -> Mapping[str, str]:
    """Return docs block -> its text."""
    texts = (file.read_text("utf-8") for file in sorted((FOLDER / "docs").glob("*.md")))
    return {name: text.strip() for page in texts for name, text in DOCS_BLOCK.findall(page)}
