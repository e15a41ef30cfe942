"""Each rule of each outgoing table is broken on purpose; its expectation alone finds the row.

The rules are read from the YAML, not from the classes that the suites are derived from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
import yaml

from expectations.contracts import FOLDER as LEADS_FOLDER
from expectations.outbound_contracts import (
    FOLDER,
    VERSION,
    OutboundContract,
    load_outbound,
    make_sample,
)
from pipelines.core.errors import IntegrityError
from pipelines.ingest.validation.great_expectations_gate import check_outgoing, require_outgoing

TABLES = ("lead_file", "offer", "retraction_list", "statement", "statement_matches")


@dataclass(frozen=True)
class Defect:
    """A value that breaks one rule of a column."""

    table: str
    column: str
    rule: str
    value: Any

    def __str__(self) -> str:
        return f"{self.table}: {self.rule} of {self.column}"


def list_defects(table: str) -> Iterator[Defect]:
    contract = yaml.safe_load((FOLDER / f"{table}.yml").read_text("utf-8"))
    version = {"minimum": contract["schema_version"], "maximum": contract["schema_version"]}
    columns = [*contract["columns"], {"name": VERSION, "required": True} | version]
    if contract.get("with_lead_columns"):
        leads = yaml.safe_load((LEADS_FOLDER / "leads.yml").read_text("utf-8"))["columns"]
        columns += [
            {"name": column["name"], "allowed": column["allowed"]}
            for column in leads
            if "allowed" in column and not column.get("protected")
        ]
    for column in columns:
        if "members" in column:
            continue
        name = column["name"]
        if column.get("required"):
            yield Defect(table, name, "required", None)
        if "allowed" in column:
            yield Defect(table, name, "allowed", f"{column['allowed'][0]} ")
        if column.get("currency"):
            yield Defect(table, name, "currency", "RMB")
        if "pattern" in column:
            yield Defect(table, name, "pattern", "0" * 63 + "\n")
        if "minimum" in column:
            yield Defect(table, name, "range", column["minimum"] - 1)
        if "maximum" in column:
            yield Defect(table, name, "range", column["maximum"] + 1)


DEFECTS = [defect for table in TABLES for defect in list_defects(table)]


def make_table(contract: OutboundContract, rows: list[dict[str, Any]]) -> pa.Table:
    simple = {"text", "integer", "number", "boolean"}
    columns = [column for column in contract.possible_columns if column.type in simple]
    schema = pa.schema([(column.name, column.arrow_type) for column in columns])
    return pa.Table.from_pylist(rows, schema)


@cache
def find_violations(table: str) -> dict[int, list[tuple[str, str]]]:
    """Check a table in which each defect is between two valid rows."""
    contract = load_outbound(table)
    good = make_sample(contract.possible_columns)
    rows = [good]
    for defect in (defect for defect in DEFECTS if defect.table == table):
        rows += [good | {defect.column: defect.value}, good]
    found: dict[int, list[tuple[str, str]]] = {}
    for violation in check_outgoing(contract, make_table(contract, rows)).violations.to_pylist():
        found.setdefault(violation["row"], []).append((violation["column"], violation["rule"]))
    return found


def test_every_outgoing_table_has_rules():
    assert {defect.table for defect in DEFECTS} == set(TABLES)
    assert len(DEFECTS) > 90


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_a_defect_is_found_by_the_expectation_of_its_rule_alone(defect: Defect):
    number = [other for other in DEFECTS if other.table == defect.table].index(defect)
    assert find_violations(defect.table)[2 * number + 1] == [(defect.column, defect.rule)]


@pytest.mark.parametrize("table", TABLES)
def test_no_other_row_is_found(table: str):
    count = len([defect for defect in DEFECTS if defect.table == table])
    assert set(find_violations(table)) == set(range(1, 2 * count, 2))


def test_a_table_that_breaks_its_contract_is_refused_without_a_value():
    contract = load_outbound("statement")
    good = make_sample(contract.possible_columns)
    with pytest.raises(
        IntegrityError, match=r"currency must be a currency .* \(1 rows\)"
    ) as refused:
        require_outgoing(contract, make_table(contract, [good, good | {"currency": "secret"}]))
    assert "secret" not in str(refused.value)
    require_outgoing(contract, make_table(contract, [good]))
