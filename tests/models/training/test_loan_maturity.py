"""Right-censored loans weigh by their observed part, so a young portfolio shows its final rate."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from expectations import policy
from models.training import loan_maturity
from models.training.loan_maturity import (
    LOAN_STATE,
    Exposure,
    MaturityCurve,
    fit_curve,
    label_loans,
    select_loans_at_risk,
)
from pipelines.core.arrays import FloatArray

YEAR = 365.0
NEVER = np.nan
FIRST_ARREARS_BY = np.array([0.01, 0.03, 0.08, 0.2, 0.4, 0.6, 0.75, 0.86, 0.94, 1.0])
"""Share of the defaulting loans that have been in arrears, by tenth of the horizon that counts."""


def loans(**state: object) -> pa.Table:
    """Return loans in a state; defaults: a horizon of a year, observed completely, no arrears."""
    rows = max(np.size(values) for values in state.values())
    given = (
        {"horizon_days": YEAR, "observed_days": YEAR} | dict.fromkeys(LOAN_STATE[2:], NEVER) | state
    )
    columns = {name: np.broadcast_to(np.asarray(v, float), rows) for name, v in given.items()}
    keys = {
        "lead_id": np.arange(rows),
        "segment": ["consumer"] * rows,
        "bureau_score": [640.0] * rows,
    }
    return pa.table(keys | columns)


def make_portfolio(rate: FloatArray, oldest_days: float, seed: int = 1) -> pa.Table:
    """Return a portfolio whose loans default at their `rate`, none older than `oldest_days`."""
    random = np.random.default_rng(seed)
    rows = len(rate)
    drawn = random.uniform(size=rows)
    behind = np.interp(
        drawn, [0, *FIRST_ARREARS_BY], np.linspace(0, YEAR - 61, len(FIRST_ARREARS_BY) + 1)
    )
    observed = random.uniform(30, oldest_days, rows)
    defaults = random.uniform(size=rows) < rate

    def observe(at: FloatArray) -> FloatArray:
        return np.where(defaults & (at <= observed), at, NEVER)

    return loans(
        observed_days=observed,
        overdue_30_after=observe(behind),
        overdue_60_after=observe(behind + 30),
        overdue_90_after=observe(behind + 60),
    )


def columns(table: pa.Table) -> tuple[FloatArray, FloatArray]:
    return table["label"].to_numpy(), table["weight"].to_numpy()


@pytest.mark.parametrize(("oldest_days", "within"), [(210, 0.25), (365, 0.05), (700, 0.03)])
def test_weighted_rate_of_a_young_portfolio_is_its_final_rate(oldest_days, within):
    label, weight = columns(label_loans(make_portfolio(np.full(60_000, 0.06), oldest_days)))
    assert label.mean() < 0.06 * 0.95 or oldest_days > YEAR
    assert np.average(label, weights=weight) == pytest.approx(0.06, rel=within)


def test_risky_loans_are_distinguished_long_before_the_horizon():
    risky = np.arange(60_000) % 2 == 0
    table = label_loans(make_portfolio(np.where(risky, 0.12, 0.03), 250))
    label, weight = columns(table)
    is_risky = table["lead_id"].to_numpy() % 2 == 0
    shown = [np.average(label[of], weights=weight[of]) for of in (is_risky, ~is_risky)]
    assert shown == [pytest.approx(0.12, rel=0.25), pytest.approx(0.03, rel=0.25)]


def test_weight_of_a_loan_without_arrears_rises_with_its_age():
    label, weight = columns(label_loans(loans(observed_days=[31, 90, 180, 300, 364, 365, 900])))
    assert not label.any()
    assert (np.diff(weight[:5]) > 0).all()
    assert weight[0] < 0.05
    assert list(weight[-2:]) == [1.0, 1.0]


def test_only_a_default_within_the_horizon_counts():
    label, weight = columns(
        label_loans(loans(observed_days=[200.0, 900.0, 900.0], overdue_90_after=[150.0, 365, 366]))
    )
    assert list(label) == [1.0, 1.0, 0.0]
    assert list(weight) == [1.0, 1.0, 1.0]


def test_loan_in_arrears_counts_in_part_as_either_class():
    table = label_loans(loans(observed_days=[200.0, 200.0], overdue_30_after=[180.0, NEVER]))
    assert table["lead_id"].to_pylist() == [0, 0, 1]
    label, weight = columns(table)
    assert list(label) == [1.0, 0.0, 0.0]
    assert weight[0] + weight[1] == 1.0
    assert weight[0] == pytest.approx(0.55)  # roll_rates in priors.yml: nothing else is known


def test_loan_60_days_overdue_counts_more_as_a_default_than_30():
    table = label_loans(
        loans(observed_days=200.0, overdue_30_after=[140.0, 180.0], overdue_60_after=[170.0, NEVER])
    )
    label, weight = columns(table)
    assert weight[label == 1][0] > weight[label == 1][1]


def test_roll_rate_is_estimated_from_resolved_loans():
    reached_90 = np.where(np.arange(400) % 10 < 9, 160.0, NEVER)
    closed = {
        "observed_days": 300.0,
        "overdue_30_after": 100.0,
        "overdue_60_after": 130.0,
        "overdue_90_after": reached_90,
    }
    old, young = loans(**closed), loans(observed_days=[130.0], overdue_30_after=[100.0])
    label, weight = columns(label_loans(pa.concat_tables([old, young])))
    assert label[-2] == 1.0
    assert weight[-2] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("observed", "overdue"), [(200.0, 100.0), (330.0, 310.0), (900.0, 300.0)], ids=str
)
def test_cured_or_late_arrears_are_no_default(observed, overdue):
    label, _ = columns(label_loans(loans(observed_days=[observed], overdue_30_after=[overdue])))
    assert list(label) == [0.0]


def test_no_loan_is_left_out():
    table = make_portfolio(np.full(5_000, 0.3), 300)
    assert set(label_loans(table)["lead_id"].to_pylist()) == set(range(5_000))
    assert not set(LOAN_STATE) & set(label_loans(table).column_names)


def test_weights_do_not_depend_on_the_order_of_rows():
    table = make_portfolio(np.full(2_000, 0.3), 300)
    reversed_rows = label_loans(table.take(np.arange(2_000)[::-1]))
    expected = label_loans(table).sort_by([("lead_id", "ascending"), ("label", "descending")])
    back = reversed_rows.sort_by([("lead_id", "ascending"), ("label", "descending")])
    assert np.allclose(back["weight"].to_numpy(), expected["weight"].to_numpy(), rtol=1e-12)


def test_empty_portfolio_gives_no_rows():
    assert label_loans(loans(observed_days=[30.0]).slice(1)).num_rows == 0


def test_without_defaults_the_curve_is_the_stated_shape():
    state = {name: loans(observed_days=[40.0])[name].to_numpy() for name in LOAN_STATE}
    shown = fit_curve(state, np.zeros(1), 0.05).shown
    assert (np.diff(shown) >= 0).all()
    assert shown[-1] == 1.0
    assert shown[1] == pytest.approx(0.05, abs=0.02)  # 90 days behind after four months: 5%


def test_other_columns_are_kept():
    table = loans(observed_days=[100.0]).append_column(
        "business_date", pa.array([date(2026, 1, 1)])
    )
    assert label_loans(table)["business_date"].to_pylist() == [date(2026, 1, 1)]


@pytest.mark.parametrize(("begins", "ends"), [(0, 60), (90, 180), (200, 228), (300, 365)])
def test_window_probability_equals_a_simulation(begins, ends):
    """Brute force: loans of three risks are drawn; loans without earlier arrears are counted."""
    random, rows = np.random.default_rng(8), 900_000
    pd = np.array([0.02, 0.1, 0.4])[np.arange(rows) % 3]
    curve = MaturityCurve(
        np.array([0.002, 0.03, 0.1, 0.2, 0.4, 0.6, 0.75, 0.85, 0.93, 0.97, 0.99, 1.0]), 0
    )
    at = np.interp(random.uniform(size=rows), [0, *curve.shown], np.linspace(0, YEAR, 13))
    at = np.where(random.uniform(size=rows) < pd, at, np.inf)
    within = (at >= begins) & (at < ends)
    begin, end = curve.share_shown(np.array([begins, ends]) / YEAR)
    probabilities = Exposure(np.full(3, begin), np.full(3, end)).window_probability(
        np.array([0.02, 0.1, 0.4])
    )
    for group, probability in enumerate(probabilities):
        at_risk = (at >= begins) & (np.arange(rows) % 3 == group)
        deviation = np.sqrt(probability * (1 - probability) / at_risk.sum())
        assert within[at_risk].mean() == pytest.approx(probability, abs=4 * deviation)


def observe_window(days: float, **state: object) -> tuple[list[int], list[float]]:
    """Return the loans at risk in the last `days`, and their labels."""
    known = MaturityCurve(np.linspace(0.1, 1, 10), 0.05)
    table, exposure = select_loans_at_risk(loans(**state), days, known)
    assert len(exposure.begin) == len(exposure.end) == table.num_rows
    return table["lead_id"].to_pylist(), table["label"].to_pylist()


def test_loans_with_earlier_arrears_are_not_at_risk():
    overdue = [NEVER, 99.0, 100.0, 150.0, 40.0]
    rows, label = observe_window(
        100, observed_days=200.0, overdue_30_after=overdue, overdue_90_after=[NEVER] * 4 + [100.0]
    )
    assert rows == [0, 2, 3]
    # The third cured. The fourth is open: one of three defaulted, 5.5 of ten by priors.yml.
    assert label == [0.0, 0.0, 0.5]


def test_loan_is_at_risk_from_its_first_day_to_its_horizon():
    rows, label = observe_window(
        100, observed_days=[30.0, 464.0, 465.0], overdue_90_after=[NEVER, 364.0, 366.0]
    )
    assert rows == [0, 1]
    assert label == [0.0, 1.0]


def test_exposure_lies_between_the_ages_at_both_ends_of_the_window():
    _, exposure = select_loans_at_risk(
        loans(observed_days=[36.5, 146.0, 400.0]),
        73.0,
        MaturityCurve(np.linspace(0.1, 1, 10), 0.05),
    )
    assert exposure.begin == pytest.approx([0.0, 0.2, 327 / 365])
    assert exposure.end == pytest.approx([0.1, 0.4, 1.0])
    assert exposure.mean == pytest.approx((0.1 + 0.2 + 38 / 365) / 3)


def test_curve_of_an_empty_portfolio_is_the_stated_shape():
    none = loans(observed_days=[30.0]).slice(1)
    curve = loan_maturity.fit_loan_curve(none)
    assert list(curve.shown) == list(policy.priors().defaulted_by)
    assert select_loans_at_risk(none, 28.0, curve)[0].num_rows == 0
