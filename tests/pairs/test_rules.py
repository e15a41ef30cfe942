"""The rule index equals a plain check of each lead; an invalid rule closes its product."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.pairs.eligibility.bitsets import pack, unpack
from pipelines.pairs.eligibility.reference_rules import RuleCheck, _check_own_rule
from pipelines.pairs.eligibility.rule_index import index_attribute
from pipelines.pairs.eligibility.rules import CompiledRules, compile_rules

ATTRIBUTES = pa.schema(
    {
        "lead_row": pa.int64(),
        "income_monthly": pa.float64(),
        "age_years": pa.int64(),
        "region": pa.string(),
        "employment": pa.string(),
        "is_urban": pa.bool_(),
        "person_key": pa.string(),
        "captured_at": pa.timestamp("us", tz="UTC"),
    }
)
PRODUCT = ("bank", "loan")


def compile_own(*rules: tuple[str, str, str], product: tuple[str, str] = PRODUCT) -> CompiledRules:
    rows = [
        {
            "institution_id": product[0],
            "product_id": product[1],
            "attribute": attribute,
            "op": op,
            "value": value,
        }
        for attribute, op, value in rules
    ]
    return compile_table(rows)


def compile_table(rows: list[dict[str, str]]) -> CompiledRules:
    names = ("institution_id", "product_id", "attribute", "op", "value")
    table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))
    return compile_rules(table, ATTRIBUTES, frozenset({"gender"}))


def find_admitted(rules: CompiledRules, leads: list[dict[str, Any]]) -> set[tuple[int, str]]:
    """Return the (lead row, product) that meet the rules, of every product with rules."""
    products = sorted({product for by_product in rules.bounds.values() for product in by_product})
    table = pa.Table.from_pylist(leads, ATTRIBUTES)
    bitsets = pack(np.ones((len(leads), len(products)), np.bool_))
    for name, by_product in rules.bounds.items():
        bounds = [by_product.get(product) for product in products]
        kind = ATTRIBUTES.field(name).type
        bitsets &= index_attribute("rules", name, kind, bounds).admit(table)
    rows, columns = np.nonzero(unpack(bitsets, len(products)))
    return {
        (leads[row]["lead_row"], products[column][1])
        for row, column in zip(rows, columns, strict=True)
    }


def meets(lead: dict[str, Any], rules: list[tuple[str, str, str]]) -> bool:
    """Return True if the lead meets every rule, without an index."""
    return all(_meets(lead[attribute], op, value) for attribute, op, value in rules)


def _meets(value: Any, op: str, bound: str) -> bool:
    members = bound.split("|")
    if op == "not_in":
        return value is None or _text(value) not in members
    if value is None:
        return False
    if op == "known":
        return True
    if op == "in":
        return _text(value) in members
    ends = [float(member) for member in members]
    if op == "between":
        return ends[0] <= value <= ends[1]
    return value >= ends[0] if op == "ge" else value <= ends[0]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def random_rule(random: np.random.Generator) -> tuple[str, str, str]:
    attribute = str(random.choice(["income_monthly", "age_years", "region", "is_urban"]))
    some = {
        "income_monthly": [str(float(n)) for n in random.choice(10, 3) * 1000],
        "age_years": [str(n) for n in 20 + random.choice(40, 3)],
        "region": [str(name) for name in random.choice(["CN-31", "CN-44", "CN-11"], 2)],
        "is_urban": [str(random.choice(["true", "false"]))],
    }[attribute]
    ops = ["in", "not_in", "known"]
    if attribute in {"income_monthly", "age_years"}:
        ops += ["ge", "le", "between"]
    op = str(random.choice(ops))
    if op == "between":
        return attribute, op, "|".join(sorted(some[:2], key=float))
    return attribute, op, {"ge": some[0], "le": some[0], "known": "true"}.get(op, "|".join(some))


def random_lead(row: int, random: np.random.Generator) -> dict[str, Any]:
    def or_unknown(value: Any) -> Any:
        return None if random.random() < 0.2 else value

    return {
        "lead_row": row,
        "income_monthly": or_unknown(float(random.integers(10) * 1000)),
        "age_years": or_unknown(int(random.integers(20, 60))),
        "region": or_unknown(str(random.choice(["CN-31", "CN-44", "CN-11"]))),
        "is_urban": or_unknown(bool(random.random() < 0.5)),
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_index_equals_a_check_of_each_rule(seed):
    random = np.random.default_rng(seed)
    leads = [random_lead(row, random) for row in range(150)]
    rules = {
        f"loan-{number}": [random_rule(random) for _ in range(random.integers(1, 5))]
        for number in range(30)
    }
    rows = [
        {
            "institution_id": "bank",
            "product_id": product,
            "attribute": attribute,
            "op": op,
            "value": value,
        }
        for product, by_product in rules.items()
        for attribute, op, value in by_product
    ]
    expected = {
        (lead["lead_row"], product)
        for lead in leads
        for product, by_product in rules.items()
        if meets(lead, by_product)
    }
    result = compile_table(rows)
    assert result.closed == {}
    assert 0 < len(expected) < len(leads) * len(rules)
    assert find_admitted(result, leads) == expected


@pytest.mark.parametrize(
    ("op", "value", "met"),
    [
        ("ge", "1", False),
        ("le", "1", False),
        ("between", "1|2", False),
        ("in", "1", False),
        ("known", "true", False),
        ("not_in", "1", True),
    ],
)
def test_an_unknown_value_meets_no_rule_but_not_in(op, value, met):
    unknown = [{"lead_row": 0, "income_monthly": None}]
    assert bool(find_admitted(compile_own(("income_monthly", op, value)), unknown)) is met


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (("shoe_size", "ge", "40"), "no such lead column or feature"),
        (("person_key", "in", "abc"), "no such lead column or feature"),
        (("gender", "in", "female"), "the attribute is protected"),
        (("captured_at", "ge", "2026-01-01"), "no rule can use a column of type"),
        (("region", "ge", "5"), "the attribute is not a number"),
        (("income_monthly", "ge", "a lot"), "'a lot' is not a number"),
        (("income_monthly", "le", "nan"), "'nan' is not a number"),
        (("income_monthly", "between", "5"), "not two numbers separated by"),
        (("income_monthly", "between", "9|5"), "ends before it begins"),
        (("income_monthly", "in", "|"), "lists nothing"),
        (("income_monthly", "in", "1|x"), "'x' is not a number"),
        (("is_urban", "in", "perhaps"), "is not true or false"),
        (("employment", "not_in", "student|unemployd"), "is not a list of employed, "),
        (("employment", "not_in", "Unemployed"), "is not a list of employed, "),
        (("region", "not_in", "CN-31,CN-44"), "is not a list separated by |"),
        (("region", "not_in", "CN-31\uff5cCN-44"), "is not a list separated by |"),
        (("region", "in", "CN-31;CN-44"), "is not a list separated by |"),
        (("region", "known", "false"), "known takes the value true"),
        (("region", "like", "CN%"), "no such operation"),
    ],
)
def test_an_invalid_rule_closes_its_product_with_a_reason(rule, why):
    result = compile_own(rule, ("age_years", "ge", "18"))
    assert list(result.closed) == [PRODUCT]
    assert result.closed[PRODUCT].startswith(f"rule {rule[0]} {rule[1]}: ")
    assert why in result.closed[PRODUCT]


def test_two_rules_on_one_attribute_must_both_hold():
    rules = compile_own(("region", "in", "CN-31|CN-44"), ("region", "in", "CN-44|CN-11"))
    leads = [
        {"lead_row": row, "region": region}
        for row, region in enumerate(["CN-31", "CN-44", "CN-11"])
    ]
    assert find_admitted(rules, leads) == {(1, "loan")}


def test_no_rules_compile_to_no_bounds():
    assert (compile_own().bounds, compile_own().closed) == ({}, {})


def test_contradictory_rules_admit_no_lead():
    rules = compile_own(("region", "in", "CN-31"), ("region", "in", "CN-44"))
    leads = [{"lead_row": row, "region": region} for row, region in enumerate(["CN-31", "CN-44"])]
    assert find_admitted(rules, leads) == set()


@pytest.mark.parametrize("member", ["cn-31", " CN-31 ", "\uff23\uff2e-31", "Cn-31", "CN-31\u3000"])
@pytest.mark.parametrize("value", ["CN-31", "cn-31", "\uff23N-31", " CN-31"])
def test_texts_are_compared_without_case_width_and_white_space(member, value):
    lead = random_lead(0, np.random.default_rng(1)) | {"region": value}
    for op, is_met in (("in", True), ("not_in", False)):
        rule = ("region", op, f"CN-44|{member}")
        assert bool(find_admitted(compile_own(rule), [lead])) == is_met
        named = dict(zip(("attribute", "op", "value"), rule, strict=True))
        assert _check_own_rule(lead, named).is_met == is_met


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("bureau_score ge 600", "bureau_score at least 600"),
        ("income_monthly le 9000", "income_monthly at most 9000"),
        ("age_years between 22|55", "age_years between 22 and 55"),
        ("region in CN-BJ|CN-SH", "region among CN-BJ, CN-SH"),
        ("region not_in CN-BJ", "region other than CN-BJ"),
        ("employment known 1", "employment known"),
    ],
)
def test_a_rule_of_a_product_is_explained_in_words(rule: str, words: str):
    assert RuleCheck("rules", rule, "below").words == words
    assert RuleCheck("amount", rule, "below").words == rule
