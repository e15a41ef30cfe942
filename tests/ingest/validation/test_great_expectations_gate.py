"""The gate reports exactly the rows that break a rule, and no value of a row."""

import json
import logging
from collections import defaultdict
from functools import cache

import pyarrow as pa
import pytest

from expectations.contracts import load
from pipelines.core.errors import IntegrityError
from pipelines.ingest.validation import great_expectations_gate as gate
from pipelines.ingest.validation.great_expectations_gate import VIOLATIONS, check_contract
from tests.helpers.feeds import good, received
from tests.ingest.validation.contract_violations import (
    FEEDS,
    Case,
    boundary_values,
    broken_rules,
    cases,
    conditional_maxima,
    random_rows,
    read_contract,
)

CASES = [case for feed in FEEDS for case in cases(feed)]
SECRET = "110101199003074231"


@cache
def check_all_cases(feed):
    """Check a table in which each invalid row is between two valid ones."""
    rows = [good(feed)]
    for case in (case for case in CASES if case.feed == feed):
        rows += [good(feed, **case.changes), good(feed)]
    return check_contract(load(feed), received(feed, rows))


def violations_by_row(result):
    listed = defaultdict(list)
    for found in result.violations.to_pylist():
        listed[found["row"]].append((found["column"], found["rule"], found["severity"]))
    return listed


@cache
def violations_of_cases(feed):
    return violations_by_row(check_all_cases(feed))


def row_of(case: Case) -> int:
    return 2 * [other for other in CASES if other.feed == case.feed].index(case) + 1


def test_every_feed_has_rules_to_break():
    assert len(FEEDS) == 10
    assert len(CASES) > 150
    assert {case.feed for case in CASES} == set(FEEDS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_that_breaks_a_rule_is_reported_with_its_severity(case):
    assert violations_of_cases(case.feed)[row_of(case)] == case.violations


@pytest.mark.parametrize("feed", FEEDS)
def test_a_valid_row_is_never_reported(feed):
    rows = set(check_all_cases(feed).violations["row"].to_pylist())
    broken = {row_of(case) for case in CASES if case.feed == feed}
    assert rows == broken


@pytest.mark.parametrize("feed", FEEDS)
def test_the_summary_counts_the_violations(feed):
    result = check_all_cases(feed)
    listed = result.violations.group_by(["message"]).aggregate([("row", "count")]).to_pylist()
    counted = {rule["message"]: rule["unexpected"] for rule in result.summary}
    assert len(counted) == len(result.summary)
    assert {entry["message"]: entry["row_count"] for entry in listed} == {
        message: count for message, count in counted.items() if count
    }


@pytest.mark.parametrize("feed", FEEDS)
def test_the_suite_has_one_expectation_for_every_rule_of_the_contract(feed):
    expectations = [(rule["column"], rule["rule"]) for rule in check_all_cases(feed).summary]
    rules = [
        (column["name"], rule)
        for column in read_contract(feed)["columns"]
        for rule, keys in RULE_KEYS.items()
        if any(column.get(key) for key in keys) or any(column.get(key) == 0 for key in keys)
    ]
    rules += [(name, "conditional_range") for name, *_ in conditional_maxima(read_contract(feed))]
    rules += [
        (pattern["column"], "conditional_pattern")
        for pattern in read_contract(feed).get("conditional_patterns", [])
    ]
    rules += [(order["later"], "order") for order in read_contract(feed).get("orders", [])]
    assert expectations == rules


DEPENDENT_RULES = {"order", "conditional_pattern", "conditional_range"}
"""Rules that depend on another column."""

RULE_KEYS = {
    "required": ["required"],
    "allowed": ["allowed"],
    "pattern": ["pattern"],
    "range": ["minimum", "maximum"],
    "currency": ["currency"],
    "max_length": ["max_length"],
}


def test_every_key_of_a_contract_is_a_rule_or_metadata():
    known = {"name", "type", "description", "example", "severity", "personal", "protected"}
    known |= {
        "assumed",
        "feature",
        "wording",
        "restricts",
        "on_unreadable",
        "on_unknown",
        "means_every",
    }
    known |= {"maximum_by", "ceiling", "placeholders", "placeholder_pattern"}
    known |= {"days_ahead", "days_back"}
    known |= {key for keys in RULE_KEYS.values() for key in keys}
    used = {key for feed in FEEDS for column in read_contract(feed)["columns"] for key in column}
    assert used <= known
    assert {"required", "allowed", "pattern", "minimum", "max_length"} <= used


@pytest.mark.parametrize("feed", FEEDS)
def test_boundary_values_are_valid(feed):
    rows = [good(feed, **{column: value}) for column, value in boundary_values(feed)]
    result = check_contract(load(feed), received(feed, rows))
    assert rows
    assert [f for f in result.violations.to_pylist() if f["rule"] not in DEPENDENT_RULES] == []


@pytest.mark.parametrize("feed", FEEDS)
def test_an_optional_value_that_is_missing_breaks_nothing(feed):
    missing = {
        column["name"]: None for column in read_contract(feed)["columns"] if not _required(column)
    }
    result = check_contract(load(feed), received(feed, [good(feed, **missing), good(feed)]))
    assert result.violations.num_rows == 0


def _required(column):
    return column.get("required", False)


def test_an_order_applies_where_both_values_are_known_and_equal_values_are_valid():
    rows = [
        good("products", pd_min=0.5, pd_max=None),
        good("products", pd_min=None, pd_max=0.001),
        good("products", pd_min=0.05, pd_max=0.05),
        good("products", pd_min=0.05, pd_max=0.04),
    ]
    result = check_contract(load("products"), received("products", rows))
    assert result.violations["row"].to_pylist() == [3]
    order = next(r for r in result.summary if (r["rule"], r["column"]) == ("order", "pd_max"))
    assert order["unexpected"] == 1


def test_a_row_is_reported_for_every_rule_that_it_breaks():
    row = good(
        "leads", lead_id=None, currency="yuan", bureau_score=-1.0, segment="crowd", amount=None
    )
    result = check_contract(load("leads"), received("leads", [row]))
    assert violations_by_row(result)[0] == [
        ("bureau_score", "range", "warning"),
        ("currency", "currency", "critical"),
        ("lead_id", "required", "critical"),
        ("segment", "allowed", "critical"),
    ]


def test_a_message_states_the_requirement():
    result = check_contract(load("leads"), received("leads", [good("leads", amount=0.0)]))
    assert result.violations["message"].to_pylist() == [
        "amount must be between 0.01 and 10,000,000,000"
    ]


@pytest.mark.parametrize("feed", FEEDS)
def test_an_empty_table_has_no_violations(feed):
    result = check_contract(load(feed), received(feed, []))
    assert result.violations.schema == VIOLATIONS
    assert result.violations.num_rows == 0
    assert {rule["unexpected"] for rule in result.summary} == {0}


@pytest.mark.parametrize("feed", FEEDS)
def test_random_rows_have_the_violations_that_a_loop_in_python_finds(feed):
    rows = random_rows(feed, rows=300, seed=5)
    result = check_contract(load(feed), received(feed, rows))
    reported = {(f["row"], f["column"], f["rule"]) for f in result.violations.to_pylist()}
    assert reported == {
        (position, *rule) for position, row in enumerate(rows) for rule in broken_rules(feed, row)
    }
    assert len(reported) == result.violations.num_rows > len(rows)


@pytest.mark.parametrize("feed", ["leads", "products"])
def test_remembered_verdicts_are_the_ones_of_a_gate_without_memory(feed):
    verdicts: gate.Verdicts = {}
    for seed in (7, 7, 8):  # the second table has no new value
        table = received(feed, random_rows(feed, rows=120, seed=seed))
        alone = check_contract(load(feed), table)
        remembered = check_contract(load(feed), table, verdicts)
        assert remembered.violations.equals(alone.violations)
        assert remembered.summary == alone.summary
        assert alone.violations.num_rows > 100


def test_great_expectations_is_not_asked_about_values_that_it_judged(monkeypatch):
    def validate(suite, values, result_format):
        asked.extend(values.column_names)
        return whole(suite, values, result_format)

    whole, asked, verdicts = gate._validate, [], {}
    monkeypatch.setattr(gate, "_validate", validate)
    rows = [good("leads"), good("leads", amount=-5.0)]
    for changes in ({}, {"segment": "crowd"}):
        asked.clear()
        table = received("leads", [*rows, good("leads", **changes)])
        result = check_contract(load("leads"), table, verdicts)
        assert result.violations["row"].to_pylist() == ([1, 2] if changes else [1])
    assert set(asked) == {"segment"}


def test_columns_of_many_and_of_few_values_are_judged_alike(monkeypatch):
    monkeypatch.setattr(gate, "FEW", 3)  # so some columns of the table have more values
    rows = random_rows("leads", rows=80, seed=9)
    few = check_contract(load("leads"), received("leads", rows), {})
    monkeypatch.undo()
    assert few.violations.equals(check_contract(load("leads"), received("leads", rows)).violations)


def test_the_order_of_the_rows_changes_only_their_numbers():
    rows = random_rows("products", rows=200, seed=6)
    forward = check_contract(load("products"), received("products", rows))
    backward = check_contract(load("products"), received("products", rows[::-1]))
    last = len(rows) - 1
    mirrored = [
        violation | {"row": last - violation["row"]}
        for violation in backward.violations.to_pylist()
    ]
    mirrored.sort(key=lambda f: (f["row"], f["column"], f["rule"], f["message"]))
    assert mirrored == forward.violations.to_pylist()
    assert backward.summary == forward.summary


def test_columns_outside_the_contract_are_ignored():
    table = received("suppressions", [good("suppressions")])
    wider = table.append_column("line", pa.array([7]))
    assert check_contract(load("suppressions"), wider).violations.num_rows == 0


def test_rows_are_numbered_over_all_chunks_of_a_table():
    part = received("leads", [good("leads"), good("leads", amount=-5.0)])
    result = check_contract(load("leads"), pa.concat_tables([part, part]))
    assert result.violations["row"].to_pylist() == [1, 3]


def test_no_value_of_a_row_leaves_the_gate(caplog, capfd):
    texts = [column.name for column in load("leads").columns if column.type == "text"]
    row = good("leads", **dict.fromkeys(texts, f"{SECRET} {SECRET * 80}"))
    with caplog.at_level(logging.DEBUG):
        result = check_contract(load("leads"), received("leads", [row, good("leads")]))
    assert result.violations.num_rows > len(texts)
    output = [json.dumps(result.summary), json.dumps(result.violations.to_pylist()), caplog.text]
    assert SECRET not in "".join([*output, *capfd.readouterr()])


def test_a_table_that_the_gate_fails_on_raises_without_a_value_in_the_message(caplog, capfd):
    table = received("leads", [good("leads")])
    index = table.schema.get_field_index("amount")
    untyped = table.set_column(index, "amount", pa.array([SECRET]))
    with pytest.raises(IntegrityError, match=r"leads\.yml: range of amount\.") as raised:
        check_contract(load("leads"), untyped)
    assert SECRET not in str(raised.value) + caplog.text + "".join(capfd.readouterr())
    assert raised.value.__cause__ is None


def test_a_rule_without_an_answer_is_not_taken_as_kept(monkeypatch):
    def validate(suite, frame, result_format):
        results = whole(suite, frame, result_format)
        if result_format == gate.IS_KEPT:  # the answer on the only broken rule is lost
            results = [result for result in results if result.success]
        return results

    whole = gate._validate
    monkeypatch.setattr(gate, "_validate", validate)
    row = good("leads", lead_id="L" * 10_000)  # a column with several rules, of which some hold
    result = check_contract(load("leads"), received("leads", [row]))
    assert set(result.violations["column"].to_pylist()) == {"lead_id"}
