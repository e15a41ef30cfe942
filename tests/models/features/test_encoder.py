"""From columns to numbers: arithmetic that a person can check, and every row for itself."""

import math

import numpy as np
import pyarrow as pa
import pytest

from models.errors import MissingColumns
from models.features.encoder import PAIR_FEATURES, Encoder, numbers, payment, ratio
from models.params import Features, params


def one(**columns) -> pa.Table:
    return pa.table({name: [value] for name, value in columns.items()})


def test_a_payment_pays_the_loan_back_with_its_interest():
    monthly = float(payment(np.array([12_000.0]), np.array([0.12]), np.array([12.0]))[0])
    balance = 12_000.0
    for _ in range(12):
        balance = balance * 1.01 - monthly
    assert balance == pytest.approx(0, abs=1e-6)


def test_a_loan_that_costs_nothing_is_paid_in_equal_parts():
    assert payment(np.array([1200.0]), np.array([0.0]), np.array([12.0])).tolist() == [100.0]


@pytest.mark.parametrize("below", [0.0, -1.0, math.nan])
def test_a_ratio_to_nothing_is_unknown(below):
    assert np.isnan(ratio(np.array([1.0]), np.array([below]))).all()


def test_payment_is_compared_with_income_at_the_highest_cost_over_the_term_asked_for():
    pair = one(
        amount=1200.0, apr_max=0.0, term_months=12, term_max_months=24, income_monthly=1000.0
    )
    assert PAIR_FEATURES["payment_to_income"](pair).tolist() == [0.1]


def test_without_a_term_asked_for_the_longest_one_counts():
    pair = one(
        amount=1200.0,
        apr_max=0.0,
        term_months=pa.scalar(None, pa.int64()),
        term_max_months=24,
        income_monthly=1000.0,
    )
    assert PAIR_FEATURES["payment_to_income"](pair).tolist() == [0.05]


@pytest.mark.parametrize(("decisions", "evidence"), [(0, 0.0), (5, 0.25), (20, 1.0), (900, 1.0)])
def test_evidence_grows_with_decisions_until_there_are_enough(decisions, evidence):
    product = one(product_decisions=decisions)
    assert PAIR_FEATURES["product_evidence"](product).tolist() == [evidence]


def test_yes_no_and_unknown_become_one_zero_and_nan():
    column = pa.table({"is_urban": pa.array([True, False, None])})
    np.testing.assert_array_equal(numbers(column, "is_urban"), [1.0, 0.0, np.nan])


def test_infinite_is_unknown():
    assert np.isnan(numbers(one(amount=math.inf), "amount")).all()


def test_rare_and_new_categories_are_unknown_like_empty_ones():
    seen = pa.table({"region": ["north"] * 5 + ["south"] * 3 + ["islet"]})
    encoder = Encoder.learned_from(seen, Features(numbers=(), categories=("region",)), least_rows=3)
    asked = pa.table({"region": pa.array(["north", "south", "islet", "new", None])})
    np.testing.assert_array_equal(encoder.matrix(asked)[:, 0], [0.0, 1.0, np.nan, np.nan, np.nan])


def test_every_missing_column_is_named_at_once():
    encoder = Encoder(Features(numbers=("amount", "income_monthly", "age_years")), {})
    with pytest.raises(MissingColumns, match="age_years, income_monthly"):
        encoder.matrix(one(amount=1.0))


def test_a_row_gives_the_same_numbers_alone_and_among_others(pairs):
    encoder = Encoder.learned_from(pairs, params().features_of("approval"), least_rows=20)
    whole = encoder.matrix(pairs)
    for start, length in [(0, 1), (1, 3), (17, 1000), (3999, 1)]:
        part = encoder.matrix(pairs.slice(start, length))
        assert part.tobytes() == whole[start : start + length].tobytes()
