"""Placeholders are missing values, counted; a number above its ceiling counts as the ceiling."""

import duckdb
import pyarrow as pa
import pytest

from expectations.contracts import contracts, load
from pipelines.ingest.reading.text_table import make_text_table
from pipelines.ingest.validation.parse import parse_columns


def parse(feed, **values):
    """Return the parsed values of one row, and its (column, rule, severity)."""
    columns = {name: pa.array([text], pa.string()) for name, text in values.items()}
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    table = make_text_table(load(feed), columns | {"task": pa.array([0], pa.int32())})
    typed, violations = parse_columns(connection, load(feed), table)
    found = violations.select(["column", "rule", "severity"]).to_pylist()
    return {name: typed[name][0].as_py() for name in values}, [tuple(v.values()) for v in found]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("device_id", "NULL"), ("device_id", "N/A"), ("device_id", r"\N"),
        ("device_id", "undefined"),
        ("device_id", "000000000000000"), ("device_id", "00000000-0000-0000-0000-000000000000"),
        ("device_id", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"), ("device_id", "Unknown"),
        ("device_id", "02:00:00:00:00:00"), ("device_id", " NULL\t"), ("device_id", "-"),
        ("phone", "0"), ("phone", "+8600000000000"), ("phone", "000-0000-0000"), ("phone", "None"),
        ("id_number", "000000000000000000"), ("id_number", "xxxxxxxxxxxxxxxxxx"),
        ("campaign_id", "nan"), ("full_name", "N/A"), ("purpose", "None"), ("region", "NULL"),
        ("debt_monthly", "NULL"), ("bureau_score", r"\N"), ("birth_date", "NaT"),
        ("employment", "\u65e0"), ("is_urban", "<NA>"),
        ("consent_withdrawn_at", "NULL"), ("consent_scope", "None"),
    ],
)  # fmt: skip
def test_a_placeholder_is_a_missing_value_and_counted(column, text):
    assert parse("leads", **{column: text}) == ({column: None}, [(column, "placeholder", "info")])


@pytest.mark.parametrize(
    ("feed", "column", "text"),
    [
        ("leads", "device_id", "dev-0001"), ("leads", "device_id", "deadbeef"),
        ("leads", "phone", "+8613800138000"), ("leads", "phone", "13800000000"),
        ("leads", "id_type", "none"), ("leads", "loan_program", "none"),
        ("leads", "full_name", "Nan Na"), ("leads", "full_name", "Null Anna"),
        ("leads", "region", "NA-KH"), ("product_rules", "value", "NULL"),
        ("product_rules", "value", "N/A"), ("products", "product_id", "0000"),
    ],
)  # fmt: skip
def test_a_value_that_can_be_real_stays(feed, column, text):
    assert parse(feed, **{column: text}) == ({column: text}, [])


@pytest.mark.parametrize("word", ["nan", "NaN", "NAN"])
def test_a_limit_that_is_not_a_number_is_not_a_missing_limit(word):
    typed, found = parse("products", daily_budget=word)
    assert typed == {"daily_budget": None}
    assert [severity for *_, severity in found] == ["critical"]
    assert parse("leads", debt_monthly=word)[1] == [("debt_monthly", "placeholder", "info")]


def test_what_a_person_meant_by_not_applicable_is_not_known_where_it_restricts():
    """An empty end or cap would open what the sender may have closed."""
    for feed, column in (
        ("products", "daily_budget"),
        ("products", "valid_to"),
        ("institutions", "admitted_to"),
        ("leads", "consent_withdrawn_at"),
    ):
        assert parse(feed, **{column: "N/A"}) == ({column: None}, [(column, "type", "critical")])
        assert parse(feed, **{column: "NULL"}) == (
            {column: None},
            [(column, "placeholder", "info")],
        )


@pytest.mark.parametrize(
    "text", ["9223372036854775807", "18446744073709551615", "10000001", "9" * 38, "2147483647.0"]
)
def test_a_quota_without_limit_counts_as_its_ceiling(text):
    expected = ({"daily_quota": 10_000_000}, [("daily_quota", "ceiling", "info")])
    assert parse("products", daily_quota=text) == expected


@pytest.mark.parametrize(
    ("text", "value", "rules"),
    [
        ("10000000", 10_000_000, []), ("30", 30, []), ("-1", -1, []),
        ("-9223372036854775809", None, ["type"]), ("1e9", None, ["type"]), ("30.5", None, ["type"]),
    ],
)  # fmt: skip
def test_other_quotas_are_parsed_as_whole_numbers(text, value, rules):
    parsed, found = parse("products", daily_quota=text)
    assert (parsed["daily_quota"], [rule for _, rule, _ in found]) == (value, rules)


def test_a_budget_without_limit_counts_as_its_ceiling():
    for text in ("1e308", "1000000000001", "9" * 300):
        expected = ({"daily_budget": 1e12}, [("daily_budget", "ceiling", "info")])
        assert parse("products", daily_budget=text) == expected


def test_every_number_that_a_partner_sends_has_a_least_and_a_greatest_value():
    open_ended = [
        f"{contract.feed}.{column.name}"
        for contract in contracts()
        for column in contract.columns
        if column.type in {"integer", "number"}
        and (
            column.minimum is None
            or (column.maximum is None and not column.maximum_by and column.ceiling is None)
        )
    ]
    assert open_ended == []


def test_a_maximum_by_another_column_names_each_of_its_values():
    for contract in contracts():
        for column in contract.columns:
            if column.maximum_by:
                allowed = contract[column.maximum_by.column].allowed
                assert {value for value, _ in column.maximum_by.values} == set(allowed)
