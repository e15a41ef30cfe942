"""Disclosed odds are never better than the truth, and intervals contain it."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.params import params
from models.scoring.uncertainty import IntervalModel, add_intervals
from models.validation.calibration_monitor import BANDS, DisclosedOdds, summarize_calibration
from pipelines.core.statistics import sigmoid

ROWS = 30_000


def make_matches(rows: int = ROWS, seed: int = 7, lenders: int = 40) -> tuple[pa.Table, np.ndarray]:
    """Return matches of a synthetic market and the true probability of each.

    The model is overconfident and does not use the lenders' random effects.
    """
    chance = np.random.default_rng(seed)
    likely = chance.normal(-1.5, 1.2, rows)
    lender = chance.integers(0, lenders, rows)
    effect = np.random.default_rng(1).normal(0, 0.4, lenders)
    effect[:4] *= 3  # lenders without known decisions
    true = sigmoid(likely + effect[lender])
    predicted = sigmoid(1.2 * (likely + 0.3))
    days = [date(2026, 3, 2) + timedelta(days=int(day)) for day in np.arange(rows) % 28]
    table = pa.table(
        {
            "institution_id": np.char.add("bank-", lender.astype(str)),
            "product_id": ["loan"] * rows,
            "channel_id": np.array(["search", "broker"])[chance.integers(0, 2, rows)],
            "business_date": days,
            "week": [f"{day.isocalendar().week}" for day in days],
            "segment": np.array(["consumer", "business"])[chance.integers(0, 2, rows)],
            "band": ["?"] * rows,
            "evidence": ["?"] * rows,
            "product_decisions": np.where(lender < 4, 0, 50),
            "bureau_score": chance.uniform(450, 800, rows),
            "amount_to_income": chance.uniform(0, 3, rows),
            "amount_to_revenue": chance.uniform(0, 3, rows),
            "predicted": predicted,
            "label": (chance.uniform(size=rows) < true).astype(np.float64),
        }
    )
    return table, true


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_disclosed_odds_are_at_max_the_true_rate(seed):
    disclosed = DisclosedOdds.fit(make_matches(seed=seed)[0])
    others, true = make_matches(seed=seed + 100)
    shown = disclosed.look_up(others["segment"], others["predicted"].to_numpy())
    is_shown = pc.is_valid(shown).to_numpy(zero_copy_only=False)
    odds = pc.fill_null(shown, 0).to_numpy() / 100
    assert is_shown.mean() > 0.5
    bands = np.searchsorted(BANDS, others["predicted"].to_numpy(), side="right")
    for band in np.unique(bands[is_shown]):
        rows = is_shown & (bands == band)
        assert odds[rows].mean() <= true[rows].mean()
    assert (odds <= others["predicted"].to_numpy()).all()


def test_predictions_alone_would_overstate_the_rate():
    """Without it, the test above would pass on a model that never overstates."""
    table, true = make_matches()
    bands = np.searchsorted(BANDS, table["predicted"].to_numpy(), side="right")
    means = [
        (table["predicted"].to_numpy()[bands == band].mean(), true[bands == band].mean())
        for band in np.unique(bands)
    ]
    assert any(predicted > happened + 0.03 for predicted, happened in means)


def test_where_too_few_are_decided_nothing_is_shown():
    few = make_matches(rows=params().calibration_monitor.min_rows - 1)[0]
    disclosed = DisclosedOdds.fit(few)
    assert disclosed.look_up(few["segment"], few["predicted"].to_numpy()).null_count == few.num_rows
    assert set(DisclosedOdds.fit(few.slice(0, 0)).overall) == {0}


def test_a_segment_with_too_few_of_its_own_is_shown_what_holds_for_all():
    table = make_matches()[0]
    disclosed = DisclosedOdds.fit(table.filter(pc.equal(table["segment"], "consumer")))
    of_business = disclosed.look_up(pa.array(["business"]), np.array([0.45]))
    allowed = disclosed.overall[int(np.searchsorted(BANDS, 0.45))]
    assert of_business.to_pylist() == [allowed - allowed % 5]
    assert allowed >= 5


def test_correlated_matches_lower_the_disclosed_odds():
    """The same matches, decided by 4 lenders that differ or by 4,000 that do not."""
    table = make_matches(lenders=4)[0]
    alike = pa.array([f"{row}" for row in range(table.num_rows)])
    place = table.column_names.index("institution_id")
    many = DisclosedOdds.fit(table.set_column(place, "institution_id", alike))
    assert sum(DisclosedOdds.fit(table).overall) < sum(many.overall)


def test_ledger_has_every_match_in_each_grouping():
    table = make_matches()[0]
    found = summarize_calibration("approval", table)
    (whole,) = found.filter(pc.equal(found["grouping"], "all")).to_pylist()
    assert whole["rows"] == table.num_rows
    assert whole["happened"] == pc.sum(table["label"]).as_py()
    assert whole["low"] < whole["observed"] < whole["high"]
    for grouping in ("segment", "channel", "lender", "week", "band", "evidence"):
        groups = found.filter(pc.equal(found["grouping"], grouping))
        assert pc.sum(groups["rows"]).as_py() == table.num_rows, grouping
    assert {"too high", "too low"} <= set(found["state"].to_pylist())


def test_intervals_contain_the_truth_and_are_wider_for_new_products_and_rare_leads():
    table, true = make_matches()
    widths = IntervalModel.fit(table, table["predicted"].to_numpy())
    predicted = np.asarray(table["predicted"].to_numpy())
    low, high = widths.predict_intervals(table, predicted)
    assert ((low <= predicted) & (predicted <= high)).all()
    assert ((low <= true) & (true <= high)).mean() > 0.9

    one = {"segment": "consumer", "amount_to_income": 0.6, "amount_to_revenue": None}
    known = {"bureau_score": 700.0, "product_decisions": 500}
    changes = ({}, {"product_decisions": 0}, {"bureau_score": None})
    rows = pa.Table.from_pylist([one | known | change for change in changes])
    low, high = widths.predict_intervals(rows, np.full(3, 0.3))
    reference, new_product, rare_lead = high - low
    assert new_product > reference
    assert rare_lead > reference


def test_without_outcomes_intervals_have_their_prior_width():
    table = make_matches()[0]
    predicted = np.asarray(table["predicted"].to_numpy())
    prior = IntervalModel.fit(table.slice(0, 0), np.empty(0))
    fitted = IntervalModel.fit(table, predicted)
    wide, narrow = (w.predict_intervals(table, predicted) for w in (prior, fitted))
    assert (wide[1] - wide[0]).mean() > 1.1 * (narrow[1] - narrow[0]).mean()
    assert IntervalModel.from_dict(fitted.as_dict()) == fitted


def make_loans(rows: int, seed: int, *, observed: float) -> tuple[pa.Table, np.ndarray]:
    """Return loans of which a share `observed` of the defaults has shown, and their predictions.

    Loans without arrears have the weights of `models.training.loan_maturity`.
    """
    table, _ = make_matches(rows, seed)
    chance = np.random.default_rng(seed)
    true = sigmoid(chance.normal(-3.0, 0.6, rows))
    label = (chance.uniform(size=rows) < true * observed).astype(np.float64)
    weight = np.where(label == 1, 1.0, observed * (1 - true) / (1 - observed * true))
    predicted = np.clip(true * chance.lognormal(0.0, 0.3, rows), 0.001, 0.9)
    place = table.column_names.index("label")
    labelled = table.set_column(place, "label", pa.array(label))
    return labelled.append_column("weight", pa.array(weight)), predicted


@pytest.mark.parametrize("observed", [0.02, 0.4, 1.0])
def test_right_censored_loans_do_not_lower_the_intervals_of_default(observed):
    """After a fiftieth of a year hardly any loan has defaulted; unweighted, none ever would."""
    table, predicted = make_loans(ROWS, 5, observed=observed)
    true = sigmoid(np.random.default_rng(5).normal(-3.0, 0.6, ROWS))
    low, high = IntervalModel.fit(table, predicted).predict_intervals(table, predicted)
    assert ((low <= true) & (true <= high)).mean() > 0.95
    if observed < 0.1:
        blind = IntervalModel.fit(table.drop_columns("weight"), predicted)
        _, too_low = blind.predict_intervals(table, predicted)
        assert (true <= too_low).mean() < 0.9


def test_ledger_counts_right_censored_loans_by_their_weight():
    table, predicted = make_loans(ROWS, 6, observed=0.4)
    at = table.column_names.index("predicted")
    given = table.set_column(at, "predicted", pa.array(predicted))
    whole = summarize_calibration("risk", given).slice(0, 1).to_pylist()[0]
    weight = table["weight"].to_numpy()
    assert whole["rows"] == round(weight.sum())
    assert whole["rows"] < 0.5 * ROWS
    assert whole["observed"] == pytest.approx(whole["happened"] / whole["rows"], abs=1e-3)
    assert whole["observed"] == pytest.approx(0.058, abs=0.01)


def test_intervals_are_added_for_each_probability():
    table, _ = make_matches(100)
    scored = table.select(
        ["segment", "bureau_score", "amount_to_income", "amount_to_revenue", "product_decisions"]
    )
    for name in ("pd", "p_fund"):
        scored = scored.append_column(name, table["predicted"])
    fitted = IntervalModel.fit(table, table["predicted"].to_numpy())
    found = add_intervals(scored, {"pd": IntervalModel.prior(), "p_fund": fitted})
    assert found.column_names[-4:] == ["pd_low", "pd_high", "p_fund_low", "p_fund_high"]
    low, high = fitted.predict_intervals(scored, table["predicted"].to_numpy())
    assert np.array_equal(found["p_fund_low"].to_numpy(), low)
    assert np.array_equal(found["p_fund_high"].to_numpy(), high)
    assert (found["pd_low"].to_numpy() < found["pd"].to_numpy()).all()
