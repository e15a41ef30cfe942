"""Those who got no loan count too; what is inferred of them never checks a model."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.params import Features, params
from models.training.reject_inference import inferred
from models.validation.splits import in_time, weights_of

FEATURES = Features(numbers=("bureau_score",), falls_with=("bureau_score",))
APPLICANTS = 12_000


@pytest.fixture(scope="module")
def market() -> tuple[pa.Table, pa.Table, np.ndarray]:
    """Applicants, asked at two products each; loans of some, the likelier the higher the score."""
    random = np.random.default_rng(3)
    score = random.uniform(400, 800, APPLICANTS)
    risk = 1 / (1 + np.exp((score - 540) / 50))
    got = random.uniform(size=APPLICANTS) < 0.1 + 0.8 * (score - 400) / 400
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
    label = got.astype(float)
    pairs = pa.concat_tables(
        [
            leads.append_column("product_id", pa.array([product] * APPLICANTS)).append_column(
                "label", pa.array(label)
            )
            for product in ("one", "two")
        ]
    )
    defaults = (random.uniform(size=APPLICANTS) < risk).astype(float)
    made = leads.append_column("product_id", pa.array(["one"] * APPLICANTS))
    made = made.append_column("label", pa.array(defaults))
    loans = made.append_column("weight", pa.array(np.ones(APPLICANTS))).filter(pa.array(got))
    return loans, pairs, risk


def by(method: str):
    return params().reject_inference.model_copy(update={"method": method})


def test_left_out_the_loans_stay_as_they_are(market):
    loans, pairs, _ = market
    assert inferred(loans, pairs, FEATURES, by("none")) is loans


def test_weighed_anew_the_loans_look_like_all_who_asked(market):
    loans, pairs, risk = market
    table = inferred(loans, pairs, FEATURES, by("weighting"))
    assert table.num_rows == loans.num_rows
    before, after = (
        np.average(each["label"].to_numpy(), weights=weights_of(each)) for each in (loans, table)
    )
    assert before < risk.mean() - 0.06
    assert after == pytest.approx(risk.mean(), abs=0.03)


def test_no_loan_stands_for_more_than_the_limit(market):
    loans, pairs, _ = market
    how = by("weighting").model_copy(update={"most_weight": 1.5})
    table = inferred(loans, pairs, FEATURES, how)
    assert weights_of(table).max() == 1.5


@pytest.mark.parametrize("method", ["augmentation", "parcelling"])
def test_who_got_no_loan_joins_once_as_bad_and_once_as_good(market, method):
    loans, pairs, _ = market
    table = inferred(loans, pairs, FEATURES, by(method))
    added = table.filter(table["is_inferred"])
    assert added.num_rows == 2 * (APPLICANTS - loans.num_rows)
    assert weights_of(added).sum() == pytest.approx(weights_of(loans).sum())
    assert not set(added["lead_id"].to_pylist()) & set(loans["lead_id"].to_pylist())


def test_who_got_no_loan_is_taken_for_as_bad_as_the_model_of_the_loans_says(market):
    loans, pairs, _ = market
    added = inferred(loans, pairs, FEATURES, by("augmentation"))
    added = added.filter(added["is_inferred"])
    bad = np.average(added["label"].to_numpy(), weights=weights_of(added))
    assert bad > np.average(loans["label"].to_numpy()) + 0.05


def test_in_parcelling_each_band_is_as_bad_as_is_stated_of_it(market):
    loans, pairs, _ = market
    added = inferred(loans, pairs, FEATURES, by("parcelling"))
    added = added.filter(added["is_inferred"])
    for low, high, stated in ((400, 550, 0.18), (600, 650, 0.07), (750, 800, 0.01)):
        score = added["bureau_score"].to_numpy()
        band = added.filter(pa.array((score >= low) & (score < high)))
        bad = np.average(band["label"].to_numpy(), weights=weights_of(band))
        assert bad == pytest.approx(stated)


def test_more_others_than_can_be_used_are_thinned_evenly_over_time(market):
    loans, pairs, _ = market
    how = by("parcelling").model_copy(update={"most_others": 600})
    added = inferred(loans, pairs, FEATURES, how)
    added = added.filter(added["is_inferred"])
    assert 500 < added.num_rows / 2 <= 600
    assert weights_of(added).sum() == pytest.approx(weights_of(loans).sum())
    assert len(set(added["business_date"].to_pylist())) > 110


def test_a_model_is_checked_on_what_happened_alone(market):
    loans, pairs, _ = market
    table = inferred(loans, pairs, FEATURES, by("augmentation"))
    inferred_rows = table["is_inferred"].to_numpy(zero_copy_only=False)
    for split in in_time(table):
        assert split.check.any()
        assert not (split.check & inferred_rows).any()
        assert (split.fit & inferred_rows).any()


def test_who_asked_after_the_newest_loan_is_not_taken_for_refused(market):
    loans, pairs, _ = market
    until = date(2026, 3, 25)
    early = loans.filter(pc.less(loans["business_date"], until))
    table = inferred(early, pairs, FEATURES, by("augmentation"))
    assert pc.max(table["business_date"]).as_py() < until


def test_without_loans_there_is_nothing_to_infer(market):
    loans, pairs, _ = market
    assert inferred(loans.slice(0, 0), pairs, FEATURES, by("weighting")).num_rows == 0
