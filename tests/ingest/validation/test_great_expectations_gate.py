"""Each rule of each contract finds exactly the row that breaks it, and tells no value of it."""

import json
import logging
from functools import cache

import pyarrow as pa
import pytest

from expectations.contracts import load
from pipelines.core.errors import IntegrityError
from pipelines.ingest.validation.great_expectations_gate import FINDINGS, judge
from tests.helpers.feeds import good, received
from tests.ingest.validation.broken import FEEDS, Case, borders, broken, cases, mixtures, stated

CASES = [case for feed in FEEDS for case in cases(feed)]
SECRET = "110101199003074231"


@cache
def verdict_on_all_cases(feed):
    """Judge a table in which each broken row stands between two good ones."""
    rows = [good(feed)]
    for case in (case for case in CASES if case.feed == feed):
        rows += [good(feed, **case.changes), good(feed)]
    return judge(load(feed), received(feed, rows))


def found(verdict, row):
    return [
        (finding["column"], finding["rule"], finding["severity"])
        for finding in verdict.findings.to_pylist()
        if finding["row"] == row
    ]


def row_of(case: Case) -> int:
    return 2 * [other for other in CASES if other.feed == case.feed].index(case) + 1


def test_every_feed_has_rules_to_break():
    assert len(FEEDS) == 8
    assert len(CASES) > 150
    assert {case.feed for case in CASES} == set(FEEDS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_finds_the_row_that_breaks_it_with_its_severity(case):
    assert found(verdict_on_all_cases(case.feed), row_of(case)) == case.findings


@pytest.mark.parametrize("feed", FEEDS)
def test_a_row_that_keeps_its_contract_is_never_found(feed):
    rows = set(verdict_on_all_cases(feed).findings["row"].to_pylist())
    broken = {row_of(case) for case in CASES if case.feed == feed}
    assert rows == broken


@pytest.mark.parametrize("feed", FEEDS)
def test_the_summary_counts_what_the_findings_list(feed):
    verdict = verdict_on_all_cases(feed)
    listed = verdict.findings.group_by(["message"]).aggregate([("row", "count")]).to_pylist()
    counted = {rule["message"]: rule["unexpected"] for rule in verdict.summary}
    assert len(counted) == len(verdict.summary)
    assert {entry["message"]: entry["row_count"] for entry in listed} == {
        message: count for message, count in counted.items() if count
    }


@pytest.mark.parametrize("feed", FEEDS)
def test_the_suite_has_one_expectation_for_every_rule_of_the_contract(feed):
    told = [(rule["column"], rule["rule"]) for rule in verdict_on_all_cases(feed).summary]
    promised = [
        (column["name"], rule)
        for column in stated(feed)["columns"]
        for rule, keys in RULE_KEYS.items()
        if any(column.get(key) for key in keys) or any(column.get(key) == 0 for key in keys)
    ]
    promised += [(order["later"], "order") for order in stated(feed).get("orders", [])]
    assert told == promised


RULE_KEYS = {
    "required": ["required"],
    "allowed": ["allowed"],
    "pattern": ["pattern"],
    "range": ["minimum", "maximum"],
    "max_length": ["max_length"],
}


def test_no_key_of_a_contract_is_a_rule_that_nobody_judges():
    known = {"name", "type", "description", "severity", "personal", "protected"}
    known |= {key for keys in RULE_KEYS.values() for key in keys}
    used = {key for feed in FEEDS for column in stated(feed)["columns"] for key in column}
    assert used <= known
    assert {"required", "allowed", "pattern", "minimum", "max_length"} <= used


@pytest.mark.parametrize("feed", FEEDS)
def test_values_on_the_border_of_what_is_allowed_pass(feed):
    rows = [good(feed, **{column: value}) for column, value in borders(feed)]
    verdict = judge(load(feed), received(feed, rows))
    assert rows
    assert [f for f in verdict.findings.to_pylist() if f["rule"] != "order"] == []


@pytest.mark.parametrize("feed", FEEDS)
def test_an_optional_value_that_is_missing_breaks_nothing(feed):
    missing = {column["name"]: None for column in stated(feed)["columns"] if not _required(column)}
    verdict = judge(load(feed), received(feed, [good(feed, **missing), good(feed)]))
    assert verdict.findings.num_rows == 0


def _required(column):
    return column.get("required", False)


def test_an_order_is_judged_only_where_both_values_are_known_and_equal_ones_keep_it():
    rows = [
        good("products", pd_min=0.5, pd_max=None),
        good("products", pd_min=None, pd_max=0.001),
        good("products", pd_min=0.05, pd_max=0.05),
        good("products", pd_min=0.05, pd_max=0.04),
    ]
    verdict = judge(load("products"), received("products", rows))
    assert verdict.findings["row"].to_pylist() == [3]
    order = next(r for r in verdict.summary if (r["rule"], r["column"]) == ("order", "pd_max"))
    assert (order["evaluated"], order["unexpected"]) == (2, 1)


def test_a_row_is_told_of_every_rule_that_it_breaks():
    row = good("leads", amount=None, currency="yuan", bureau_score=-1.0, segment="crowd")
    verdict = judge(load("leads"), received("leads", [row]))
    assert found(verdict, 0) == [
        ("amount", "required", "critical"),
        ("bureau_score", "range", "warning"),
        ("currency", "pattern", "critical"),
        ("segment", "allowed", "critical"),
    ]


def test_a_message_says_what_was_promised():
    verdict = judge(load("leads"), received("leads", [good("leads", amount=0.0)]))
    assert verdict.findings["message"].to_pylist() == [
        "amount must be between 0.01 and 10,000,000,000"
    ]


@pytest.mark.parametrize("feed", FEEDS)
def test_a_table_without_rows_is_judged_and_nothing_is_found(feed):
    verdict = judge(load(feed), received(feed, []))
    assert verdict.findings.schema == FINDINGS
    assert verdict.findings.num_rows == 0
    assert {rule["evaluated"] for rule in verdict.summary} == {0}


@pytest.mark.parametrize("feed", FEEDS)
def test_any_mixture_of_broken_values_is_found_as_a_plain_loop_finds_it(feed):
    rows = mixtures(feed, rows=300, seed=5)
    verdict = judge(load(feed), received(feed, rows))
    told = {(f["row"], f["column"], f["rule"]) for f in verdict.findings.to_pylist()}
    assert told == {(place, *rule) for place, row in enumerate(rows) for rule in broken(feed, row)}
    assert len(told) == verdict.findings.num_rows > len(rows)


def test_the_order_of_the_rows_changes_nothing_but_their_numbers():
    rows = mixtures("products", rows=200, seed=6)
    ahead = judge(load("products"), received("products", rows))
    back = judge(load("products"), received("products", rows[::-1]))
    last = len(rows) - 1
    turned = [finding | {"row": last - finding["row"]} for finding in back.findings.to_pylist()]
    turned.sort(key=lambda f: (f["row"], f["column"], f["rule"], f["message"]))
    assert turned == ahead.findings.to_pylist()
    assert back.summary == ahead.summary


def test_columns_that_the_contract_does_not_know_are_not_looked_at():
    table = received("suppressions", [good("suppressions")])
    wider = table.append_column("line", pa.array([7]))
    assert judge(load("suppressions"), wider).findings.num_rows == 0


def test_rows_are_numbered_over_all_chunks_of_a_table():
    part = received("leads", [good("leads"), good("leads", amount=-5.0)])
    verdict = judge(load("leads"), pa.concat_tables([part, part]))
    assert verdict.findings["row"].to_pylist() == [1, 3]


def test_no_value_of_a_row_leaves_the_gate(caplog, capfd):
    texts = [column.name for column in load("leads").columns if column.type == "text"]
    row = good("leads", **dict.fromkeys(texts, f"{SECRET} {SECRET * 20}"))
    with caplog.at_level(logging.DEBUG):
        verdict = judge(load("leads"), received("leads", [row, good("leads")]))
    assert verdict.findings.num_rows > len(texts)
    told = [json.dumps(verdict.summary), json.dumps(verdict.findings.to_pylist()), caplog.text]
    assert SECRET not in "".join([*told, *capfd.readouterr()])


def test_a_table_that_cannot_be_judged_is_refused_without_a_value_in_the_message(caplog, capfd):
    table = received("leads", [good("leads")])
    place = table.schema.get_field_index("amount")
    untyped = table.set_column(place, "amount", pa.array([SECRET]))
    with pytest.raises(IntegrityError, match=r"leads contract: range of amount\.") as raised:
        judge(load("leads"), untyped)
    assert SECRET not in str(raised.value) + caplog.text + "".join(capfd.readouterr())
    assert raised.value.__cause__ is None
