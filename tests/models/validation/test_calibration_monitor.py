"""Odds that are told hold: for those who were told, they are never better than the truth."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.params import params
from models.scoring.uncertainty import BANDS, Widths, with_intervals
from models.validation.calibration_monitor import Told, ledger
from pipelines.core.statistics import sigmoid

ROWS = 30_000


def world(rows: int = ROWS, seed: int = 7, lenders: int = 40) -> tuple[pa.Table, np.ndarray]:
    """Return matches of an invented market and the true probability of each.

    The model is too sure of itself and knows nothing of the lenders' own moods.
    """
    chance = np.random.default_rng(seed)
    likely = chance.normal(-1.5, 1.2, rows)
    lender = chance.integers(0, lenders, rows)
    mood = np.random.default_rng(1).normal(0, 0.4, lenders)
    mood[:4] *= 3  # those of whom nothing is known yet
    true = sigmoid(likely + mood[lender])
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
def test_of_those_who_are_told_odds_at_least_as_many_are_approved(seed):
    told = Told.learned(world(seed=seed)[0])
    others, true = world(seed=seed + 100)
    shown = told.odds(others["segment"], others["predicted"].to_numpy())
    is_told = pc.is_valid(shown).to_numpy(zero_copy_only=False)
    odds = pc.fill_null(shown, 0).to_numpy() / 100
    assert is_told.mean() > 0.5
    bands = np.searchsorted(BANDS, others["predicted"].to_numpy(), side="right")
    for band in np.unique(bands[is_told]):
        rows = is_told & (bands == band)
        assert odds[rows].mean() <= true[rows].mean()
    assert (odds <= others["predicted"].to_numpy()).all()


def test_what_is_predicted_would_have_been_too_much_to_tell():
    """Without it, the test above would pass on a model that never overstates."""
    table, true = world()
    bands = np.searchsorted(BANDS, table["predicted"].to_numpy(), side="right")
    means = [
        (table["predicted"].to_numpy()[bands == band].mean(), true[bands == band].mean())
        for band in np.unique(bands)
    ]
    assert any(predicted > happened + 0.03 for predicted, happened in means)


def test_where_too_few_are_decided_nothing_is_told():
    few = world(rows=params().odds.least_rows - 1)[0]
    told = Told.learned(few)
    assert told.odds(few["segment"], few["predicted"].to_numpy()).null_count == few.num_rows
    assert set(Told.learned(few.slice(0, 0)).of_all) == {0}


def test_a_segment_with_too_few_of_its_own_is_told_what_holds_for_all():
    table = world()[0]
    told = Told.learned(table.filter(pc.equal(table["segment"], "consumer")))
    of_business = told.odds(pa.array(["business"]), np.array([0.45]))
    allowed = told.of_all[int(np.searchsorted(BANDS, 0.45))]
    assert of_business.to_pylist() == [allowed - allowed % 5]
    assert allowed >= 5


def test_lenders_that_differ_are_worth_fewer_matches():
    """The same matches, decided by 4 lenders that differ or by 4,000 that do not."""
    table = world(lenders=4)[0]
    alike = pa.array([f"{row}" for row in range(table.num_rows)])
    place = table.column_names.index("institution_id")
    many = Told.learned(table.set_column(place, "institution_id", alike))
    assert sum(Told.learned(table).of_all) < sum(many.of_all)


def test_the_ledger_says_what_was_predicted_and_what_came_group_by_group():
    table = world()[0]
    found = ledger("approval", table)
    (whole,) = found.filter(pc.equal(found["grouping"], "all")).to_pylist()
    assert whole["rows"] == table.num_rows
    assert whole["happened"] == pc.sum(table["label"]).as_py()
    assert whole["low"] < whole["observed"] < whole["high"]
    for grouping in ("segment", "channel", "lender", "week", "band", "evidence"):
        groups = found.filter(pc.equal(found["grouping"], grouping))
        assert pc.sum(groups["rows"]).as_py() == table.num_rows, grouping
    assert {"too high", "too low"} <= set(found["state"].to_pylist())


def test_intervals_hold_the_truth_and_are_wider_for_new_products_and_rare_leads():
    table, true = world()
    widths = Widths.learned(table, table["predicted"].to_numpy())
    predicted = np.asarray(table["predicted"].to_numpy())
    low, high = widths.intervals(table, predicted)
    assert ((low <= predicted) & (predicted <= high)).all()
    assert ((low <= true) & (true <= high)).mean() > 0.9

    one = {"segment": "consumer", "amount_to_income": 0.6, "amount_to_revenue": None}
    known = {"bureau_score": 700.0, "product_decisions": 500}
    changes = ({}, {"product_decisions": 0}, {"bureau_score": None})
    rows = pa.Table.from_pylist([one | known | change for change in changes])
    low, high = widths.intervals(rows, np.full(3, 0.3))
    usual, of_a_new_product, of_a_rare_lead = high - low
    assert of_a_new_product > usual
    assert of_a_rare_lead > usual


def test_while_nothing_is_known_intervals_are_as_wide_as_is_assumed():
    table = world()[0]
    predicted = np.asarray(table["predicted"].to_numpy())
    assumed = Widths.learned(table.slice(0, 0), np.empty(0))
    learned = Widths.learned(table, predicted)
    wide, narrow = (w.intervals(table, predicted) for w in (assumed, learned))
    assert (wide[1] - wide[0]).mean() > 1.1 * (narrow[1] - narrow[0]).mean()
    assert Widths.from_dict(learned.as_dict()) == learned


def loans(rows: int, seed: int, *, seen: float) -> tuple[pa.Table, np.ndarray]:
    """Return loans of which a part `seen` of the defaults has shown, and the true probabilities.

    Those without arrears weigh as `models.training.loan_maturity` weighs them: as far as they have been seen.
    """
    table, _ = world(rows, seed)
    chance = np.random.default_rng(seed)
    true = sigmoid(chance.normal(-3.0, 0.6, rows))
    label = (chance.uniform(size=rows) < true * seen).astype(np.float64)
    weight = np.where(label == 1, 1.0, seen * (1 - true) / (1 - seen * true))
    predicted = np.clip(true * chance.lognormal(0.0, 0.3, rows), 0.001, 0.9)
    place = table.column_names.index("label")
    told = table.set_column(place, "label", pa.array(label))
    return told.append_column("weight", pa.array(weight)), predicted


@pytest.mark.parametrize("seen", [0.02, 0.4, 1.0])
def test_loans_that_still_run_draw_no_interval_of_default_down(seen):
    """At a fiftieth of a year hardly any has defaulted; taken for sound, none ever would."""
    table, predicted = loans(ROWS, 5, seen=seen)
    true = sigmoid(np.random.default_rng(5).normal(-3.0, 0.6, ROWS))
    low, high = Widths.learned(table, predicted).intervals(table, predicted)
    assert ((low <= true) & (true <= high)).mean() > 0.95
    if seen < 0.1:
        blind = Widths.learned(table.drop_columns("weight"), predicted)
        _, too_low = blind.intervals(table, predicted)
        assert (true <= too_low).mean() < 0.9


def test_the_ledger_counts_loans_that_still_run_as_far_as_they_have_been_seen():
    table, predicted = loans(ROWS, 6, seen=0.4)
    at = table.column_names.index("predicted")
    given = table.set_column(at, "predicted", pa.array(predicted))
    whole = ledger("risk", given).slice(0, 1).to_pylist()[0]
    weight = table["weight"].to_numpy()
    assert whole["rows"] == round(weight.sum())
    assert whole["rows"] < 0.5 * ROWS
    assert whole["observed"] == pytest.approx(whole["happened"] / whole["rows"], abs=1e-3)
    assert whole["observed"] == pytest.approx(0.058, abs=0.01)


def test_every_probability_of_a_pair_has_its_interval():
    table, _ = world(100)
    scored = table.select(
        ["segment", "bureau_score", "amount_to_income", "amount_to_revenue", "product_decisions"]
    )
    for name in ("pd", "p_fund"):
        scored = scored.append_column(name, table["predicted"])
    learned = Widths.learned(table, table["predicted"].to_numpy())
    found = with_intervals(scored, {"pd": Widths.assumed(), "p_fund": learned})
    assert found.column_names[-4:] == ["pd_low", "pd_high", "p_fund_low", "p_fund_high"]
    low, high = learned.intervals(scored, table["predicted"].to_numpy())
    assert np.array_equal(found["p_fund_low"].to_numpy(), low)
    assert np.array_equal(found["p_fund_high"].to_numpy(), high)
    assert (found["pd_low"].to_numpy() < found["pd"].to_numpy()).all()
