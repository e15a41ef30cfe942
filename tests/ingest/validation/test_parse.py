"""Parsing accepts the text of a type and repairs nothing."""

from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa
import pytest

from expectations.contracts import load
from pipelines.ingest.reading.text_table import make_text_table
from pipelines.ingest.validation.parse import parse_columns

COLUMNS = {
    "number": "amount",
    "integer": "term_months",
    "boolean": "is_urban",
    "date": "birth_date",
    "timestamp": "captured_at",
    "list": "consent_scope",
    "text": "purpose",
}
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def parse(kind, text):
    """Return the parsed value of a text, and the rules that it breaks."""
    contract = load("leads")
    columns = {COLUMNS[kind]: pa.array([text], pa.string()), "task": pa.array([0], pa.int32())}
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    typed, violations = parse_columns(connection, contract, make_text_table(contract, columns))
    assert typed.schema == contract.received_schema
    return typed[COLUMNS[kind]][0].as_py(), violations["rule"].to_pylist()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("number", "1234.5", 1234.5), ("number", "-.5", -0.5), ("number", "1e3", 1000.0),
        ("number", "+7.", 7.0), ("number", " 8\t", 8.0), ("number", "", None),
        ("integer", "36", 36), ("integer", "-1", -1), ("integer", "36.0", 36),
        ("integer", "9223372036854775807", 2**63 - 1),
        ("boolean", "TRUE", True), ("boolean", "1", True), ("boolean", "False", False),
        ("boolean", "0", False),
        ("date", "2024-02-29", date(2024, 2, 29)), ("date", " 2026-01-31 ", date(2026, 1, 31)),
        ("timestamp", "2026-01-31T20:00:00+08:00", NOON), ("timestamp", "2026-01-31T12:00Z", NOON),
        ("timestamp", "2026-01-31 12:00:00.000000000Z", NOON),
        ("timestamp", "2026-01-31T20:00:00+0800", NOON), ("timestamp", "2026-01-31T20:00+08", NOON),
        ("list", "a| b |c", ["a", "b", "c"]), ("list", "all", ["all"]), ("list", " ", None),
        ("text", "\u3000car \u00a0", "car"), ("text", "\t", None), ("text", "a  b", "a  b"),
    ],
)  # fmt: skip
def test_a_value_of_its_type_is_parsed(kind, text, value):
    assert parse(kind, text) == (value, [])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("number", "1,000"), ("number", "1 000"), ("number", "inf"),
        ("number", "1e400"), ("number", "0x1F"), ("number", "1_000"), ("number", "12%"),
        ("number", "\uff11\uff12"), ("number", "."), ("number", "1e"), ("number", "--1"),
        ("integer", "36.5"), ("integer", "1e2"), ("integer", "9223372036854775808"),
        ("integer", "0b11"), ("integer", "true"),
        ("boolean", "yes"), ("boolean", "2"), ("boolean", "t"),
        ("date", "2024-02-30"), ("date", "31.01.2026"), ("date", "2026-1-31"),
        ("date", "20260131"), ("date", "2026-01-31T00:00:00Z"), ("date", "infinity"),
        ("date", "0000-01-01"), ("date", "2026-01-31 (BC)"),
        ("timestamp", "2026-01-31T12:00:00"), ("timestamp", "2026-01-31"),
        ("timestamp", "2026-02-30T12:00:00Z"), ("timestamp", "2026-01-31T24:00:00Z"),
        ("timestamp", "2026-01-31T12:00:00+99:00"), ("timestamp", "1738324800"),
        ("timestamp", "2026-01-31T12:00:00 Asia/Shanghai"), ("timestamp", "now"),
        ("list", "a||b"), ("list", "|"), ("list", "a|"), ("text", "a\0b"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_a_violation_and_null(kind, text):
    assert parse(kind, text) == (None, ["type"])
