"""The encoder's arithmetic is checked by hand; a row's features do not depend on other rows."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.errors import MissingColumns
from models.features.columns import to_floats
from models.features.encoder import PAIR_FEATURES, Encoder, divide, monthly_payment
from models.params import Features, params


def one_row(**columns) -> pa.Table:
    return pa.table({name: [value] for name, value in columns.items()})


def test_payments_repay_the_loan_with_interest():
    monthly = float(monthly_payment(np.array([12_000.0]), np.array([0.12]), np.array([12.0]))[0])
    balance = 12_000.0
    for _ in range(12):
        balance = balance * 1.01 - monthly
    assert balance == pytest.approx(0, abs=1e-6)


def test_loan_without_interest_is_repaid_in_equal_parts():
    assert monthly_payment(np.array([1200.0]), np.array([0.0]), np.array([12.0])).tolist() == [
        100.0
    ]


@pytest.mark.parametrize("denominator", [0.0, -1.0, math.nan])
def test_division_by_a_value_that_is_not_positive_is_unknown(denominator):
    assert np.isnan(divide(np.array([1.0]), np.array([denominator]))).all()


def test_payment_to_income_uses_the_requested_term():
    pair = one_row(
        amount=1200.0, apr_max=0.0, term_months=12, term_max_months=24, income_monthly=1000.0
    )
    assert PAIR_FEATURES["payment_to_income"](pair).tolist() == [0.1]


def test_payment_to_income_without_a_requested_term_uses_the_longest():
    pair = one_row(
        amount=1200.0,
        apr_max=0.0,
        term_months=pa.scalar(None, pa.int64()),
        term_max_months=24,
        income_monthly=1000.0,
    )
    assert PAIR_FEATURES["payment_to_income"](pair).tolist() == [0.05]


@pytest.mark.parametrize(("decisions", "evidence"), [(0, 0.0), (5, 0.25), (20, 1.0), (900, 1.0)])
def test_evidence_grows_with_decisions_up_to_one_row(decisions, evidence):
    product = one_row(product_decisions=decisions)
    assert PAIR_FEATURES["product_evidence"](product).tolist() == [evidence]


def test_booleans_become_one_zero_and_nan():
    column = pa.table({"is_urban": pa.array([True, False, None])})
    np.testing.assert_array_equal(to_floats(column, "is_urban"), [1.0, 0.0, np.nan])


def test_infinite_values_are_unknown():
    assert np.isnan(to_floats(one_row(amount=math.inf), "amount")).all()


def test_rare_and_unseen_categories_are_unknown():
    seen = pa.table({"region": ["north"] * 5 + ["south"] * 3 + ["islet"]})
    encoder = Encoder.fit(seen, Features(numbers=(), categories=("region",)), min_rows=3)
    scored = pa.table({"region": pa.array(["north", "south", "islet", "new", None])})
    np.testing.assert_array_equal(encoder.encode(scored)[:, 0], [0.0, 1.0, np.nan, np.nan, np.nan])


def test_all_missing_columns_are_named():
    encoder = Encoder(Features(numbers=("amount", "income_monthly", "age_years")), {})
    with pytest.raises(MissingColumns, match="age_years, income_monthly"):
        encoder.encode(one_row(amount=1.0))


def test_features_of_a_row_do_not_depend_on_other_rows(pairs):
    encoder = Encoder.fit(pairs, params().model_features("approval"), min_rows=20)
    whole = encoder.encode(pairs)
    for start, length in [(0, 1), (1, 3), (17, 1000), (3999, 1)]:
        part = encoder.encode(pairs.slice(start, length))
        assert part.tobytes() == whole[start : start + length].tobytes()


def test_columns_of_dictionaries_encode_as_their_values_do(pairs):
    encoder = Encoder.fit(pairs, params().model_features("approval"), min_rows=20)
    coded = pa.table(
        {
            name: pc.dictionary_encode(pairs[name], null_encoding="encode")
            for name in pairs.column_names
        }
    )
    halves = pa.concat_tables([coded.slice(2000).combine_chunks(), coded.slice(0, 2000)])
    for start, length in [(0, 4000), (17, 1000), (3999, 1), (0, 0)]:
        expected = encoder.encode(pairs.slice(start, length))
        assert encoder.encode(coded.slice(start, length)).tobytes() == expected.tobytes()
    both = np.concatenate([encoder.encode(pairs.slice(2000)), encoder.encode(pairs.slice(0, 2000))])
    assert np.array_equal(encoder.encode(halves), both, equal_nan=True)
