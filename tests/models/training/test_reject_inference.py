"""Applicants without a loan join the training sample and never the validation sample."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.params import Features, params
from models.training.reject_inference import infer_rejected
from models.validation.splits import row_weights, split_by_time
from pipelines.core.statistics import sigmoid

FEATURES = Features(numbers=("bureau_score",), monotone_decreasing=("bureau_score",))
APPLICANTS = 12_000


@pytest.fixture(scope="module")
def market() -> tuple[pa.Table, pa.Table, np.ndarray]:
    """Applicants at two products each; the probability of a loan rises with the score."""
    random = np.random.default_rng(3)
    score = random.uniform(400, 800, APPLICANTS)
    risk = sigmoid((540 - score) / 50)
    has_loan = random.uniform(size=APPLICANTS) < 0.1 + 0.8 * (score - 400) / 400
    days = [date(2026, 1, 1) + timedelta(days=row // 100) for row in range(APPLICANTS)]
    leads = pa.table(
        {
            "channel_id": ["c"] * APPLICANTS,
            "lead_id": [f"{row:06}" for row in range(APPLICANTS)],
            "segment": ["consumer"] * APPLICANTS,
            "business_date": days,
            "label_known_on": days,
            "bureau_score": score,
        }
    )
    label = has_loan.astype(float)
    pairs = pa.concat_tables(
        [
            leads.append_column("product_id", pa.array([product] * APPLICANTS)).append_column(
                "label", pa.array(label)
            )
            for product in ("one", "two")
        ]
    )
    defaults = (random.uniform(size=APPLICANTS) < risk).astype(float)
    loan_rows = leads.append_column("product_id", pa.array(["one"] * APPLICANTS))
    loan_rows = loan_rows.append_column("label", pa.array(defaults))
    loans = loan_rows.append_column("weight", pa.array(np.ones(APPLICANTS))).filter(
        pa.array(has_loan)
    )
    return loans, pairs, risk


def by(method: str):
    return params().reject_inference.model_copy(update={"method": method})


def test_method_none_returns_the_loans(market):
    loans, pairs, _ = market
    assert infer_rejected(loans, pairs, FEATURES, by("none")) is loans


def test_weighted_loans_have_the_default_rate_of_all_applicants(market):
    loans, pairs, risk = market
    table = infer_rejected(loans, pairs, FEATURES, by("weighting"))
    assert table.num_rows == loans.num_rows
    before, after = (
        np.average(each["label"].to_numpy(), weights=row_weights(each)) for each in (loans, table)
    )
    assert before < risk.mean() - 0.06
    assert after == pytest.approx(risk.mean(), abs=0.03)


def test_weight_of_a_loan_is_limited(market):
    loans, pairs, _ = market
    rules = by("weighting").model_copy(update={"max_weight": 1.5})
    table = infer_rejected(loans, pairs, FEATURES, rules)
    assert row_weights(table).max() == 1.5


@pytest.mark.parametrize("method", ["augmentation", "parcelling"])
def test_rejected_applicant_joins_as_bad_and_as_good(market, method):
    loans, pairs, _ = market
    table = infer_rejected(loans, pairs, FEATURES, by(method))
    added = table.filter(table["is_inferred"])
    assert added.num_rows == 2 * (APPLICANTS - loans.num_rows)
    assert row_weights(added).sum() == pytest.approx(row_weights(loans).sum())
    assert not set(added["lead_id"].to_pylist()) & set(loans["lead_id"].to_pylist())


def test_augmentation_uses_the_model_of_the_loans(market):
    loans, pairs, _ = market
    added = infer_rejected(loans, pairs, FEATURES, by("augmentation"))
    added = added.filter(added["is_inferred"])
    bad = np.average(added["label"].to_numpy(), weights=row_weights(added))
    assert bad > np.average(loans["label"].to_numpy()) + 0.05


def test_parcelling_uses_the_stated_rate_of_each_band(market):
    loans, pairs, _ = market
    added = infer_rejected(loans, pairs, FEATURES, by("parcelling"))
    added = added.filter(added["is_inferred"])
    for low, high, stated in ((400, 550, 0.18), (600, 650, 0.07), (750, 800, 0.01)):
        score = added["bureau_score"].to_numpy()
        band = added.filter(pa.array((score >= low) & (score < high)))
        bad = np.average(band["label"].to_numpy(), weights=row_weights(band))
        assert bad == pytest.approx(stated)


def test_rejected_applicants_are_sampled_evenly_over_time(market):
    loans, pairs, _ = market
    rules = by("parcelling").model_copy(update={"max_rejected": 600})
    added = infer_rejected(loans, pairs, FEATURES, rules)
    added = added.filter(added["is_inferred"])
    assert 500 < added.num_rows / 2 <= 600
    assert row_weights(added).sum() == pytest.approx(row_weights(loans).sum())
    assert len(set(added["business_date"].to_pylist())) > 110


def test_validation_rows_are_observed(market):
    loans, pairs, _ = market
    table = infer_rejected(loans, pairs, FEATURES, by("augmentation"))
    inferred_rows = table["is_inferred"].to_numpy(zero_copy_only=False)
    for split in split_by_time(table):
        assert split.validate.any()
        assert not (split.validate & inferred_rows).any()
        assert (split.train & inferred_rows).any()


def test_applicants_after_the_newest_loan_are_left_out(market):
    loans, pairs, _ = market
    until = date(2026, 3, 25)
    early = loans.filter(pc.less(loans["business_date"], until))
    table = infer_rejected(early, pairs, FEATURES, by("augmentation"))
    assert pc.max(table["business_date"]).as_py() < until


def test_without_loans_there_are_no_rows(market):
    loans, pairs, _ = market
    assert infer_rejected(loans.slice(0, 0), pairs, FEATURES, by("weighting")).num_rows == 0
