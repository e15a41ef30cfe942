"""A running loan says as much as has been seen of it; a young book shows the rate it will have."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from expectations import policy
from models.training import loan_maturity
from models.training.loan_maturity import STATE, Curve, Exposure, newly_shown, weighed
from pipelines.core.arrays import FloatArray

YEAR = 365.0
NEVER = np.nan
SHOWN_BY = np.array([0.01, 0.03, 0.08, 0.2, 0.4, 0.6, 0.75, 0.86, 0.94, 1.0])
"""When loans that default are first behind, by tenth of the time in which it counts."""


def loans(**state: object) -> pa.Table:
    """Return loans in some state; what isn't given: a year's horizon, and never behind."""
    rows = max(np.size(values) for values in state.values())
    given = {"horizon": YEAR, "seen": YEAR} | dict.fromkeys(STATE[2:], NEVER) | state
    columns = {name: np.broadcast_to(np.asarray(v, float), rows) for name, v in given.items()}
    keys = {
        "lead_id": np.arange(rows),
        "segment": ["consumer"] * rows,
        "bureau_score": [640.0] * rows,
    }
    return pa.table(keys | columns)


def book(rate: FloatArray, oldest_days: float, seed: int = 1) -> pa.Table:
    """Return a book whose loans default at their `rate`, none of them older than `oldest_days`."""
    random = np.random.default_rng(seed)
    rows = len(rate)
    drawn = random.uniform(size=rows)
    behind = np.interp(drawn, [0, *SHOWN_BY], np.linspace(0, YEAR - 61, len(SHOWN_BY) + 1))
    seen = random.uniform(30, oldest_days, rows)
    defaults = random.uniform(size=rows) < rate

    def told(at: FloatArray) -> FloatArray:
        return np.where(defaults & (at <= seen), at, NEVER)

    return loans(
        seen=seen,
        behind_30=told(behind),
        behind_60=told(behind + 30),
        behind_90=told(behind + 60),
    )


def columns(table: pa.Table) -> tuple[FloatArray, FloatArray]:
    return table["label"].to_numpy(), table["weight"].to_numpy()


@pytest.mark.parametrize(("oldest_days", "within"), [(210, 0.25), (365, 0.05), (700, 0.03)])
def test_a_book_shows_the_rate_that_it_will_have(oldest_days, within):
    label, weight = columns(weighed(book(np.full(60_000, 0.06), oldest_days)))
    assert label.mean() < 0.06 * 0.95 or oldest_days > YEAR
    assert np.average(label, weights=weight) == pytest.approx(0.06, rel=within)


def test_the_risky_are_told_from_the_sound_long_before_the_horizon():
    risky = np.arange(60_000) % 2 == 0
    table = weighed(book(np.where(risky, 0.12, 0.03), 250))
    label, weight = columns(table)
    is_risky = table["lead_id"].to_numpy() % 2 == 0
    shown = [np.average(label[of], weights=weight[of]) for of in (is_risky, ~is_risky)]
    assert shown == [pytest.approx(0.12, rel=0.25), pytest.approx(0.03, rel=0.25)]


def test_a_sound_loan_weighs_the_more_the_longer_it_was_watched():
    label, weight = columns(weighed(loans(seen=[31, 90, 180, 300, 364, 365, 900])))
    assert not label.any()
    assert (np.diff(weight[:5]) > 0).all()
    assert weight[0] < 0.05
    assert list(weight[-2:]) == [1.0, 1.0]


def test_a_default_within_the_horizon_is_one_and_a_later_one_is_none():
    label, weight = columns(weighed(loans(seen=[200.0, 900.0, 900.0], behind_90=[150.0, 365, 366])))
    assert list(label) == [1.0, 1.0, 0.0]
    assert list(weight) == [1.0, 1.0, 1.0]


def test_a_loan_that_is_behind_counts_in_part_as_either():
    table = weighed(loans(seen=[200.0, 200.0], behind_30=[180.0, NEVER]))
    assert table["lead_id"].to_pylist() == [0, 0, 1]
    label, weight = columns(table)
    assert list(label) == [1.0, 0.0, 0.0]
    assert weight[0] + weight[1] == 1.0
    assert weight[0] == pytest.approx(0.55)  # roll_rates in priors.yml: nothing else is known


def test_a_loan_twice_as_far_behind_counts_more_as_a_default():
    table = weighed(loans(seen=200.0, behind_30=[140.0, 180.0], behind_60=[170.0, NEVER]))
    label, weight = columns(table)
    assert weight[label == 1][0] > weight[label == 1][1]


def test_the_share_that_went_on_is_learned_of_loans_that_were_behind():
    went_on = np.where(np.arange(400) % 10 < 9, 160.0, NEVER)
    closed = {"seen": 300.0, "behind_30": 100.0, "behind_60": 130.0, "behind_90": went_on}
    old, young = loans(**closed), loans(seen=[130.0], behind_30=[100.0])
    label, weight = columns(weighed(pa.concat_tables([old, young])))
    assert label[-2] == 1.0
    assert weight[-2] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("seen", "behind"), [(200.0, 100.0), (330.0, 310.0), (900.0, 300.0)], ids=str
)
def test_who_caught_up_or_fell_behind_too_late_is_sound(seen, behind):
    label, _ = columns(weighed(loans(seen=[seen], behind_30=[behind])))
    assert list(label) == [0.0]


def test_no_loan_is_left_out_whatever_became_of_it():
    table = book(np.full(5_000, 0.3), 300)
    assert set(weighed(table)["lead_id"].to_pylist()) == set(range(5_000))
    assert not set(STATE) & set(weighed(table).column_names)


def test_loans_in_another_order_weigh_the_same():
    table = book(np.full(2_000, 0.3), 300)
    turned = weighed(table.take(np.arange(2_000)[::-1]))
    there = weighed(table).sort_by([("lead_id", "ascending"), ("label", "descending")])
    back = turned.sort_by([("lead_id", "ascending"), ("label", "descending")])
    assert np.allclose(back["weight"].to_numpy(), there["weight"].to_numpy(), rtol=1e-12)


def test_a_book_without_loans_is_no_error():
    assert weighed(loans(seen=[30.0]).slice(1)).num_rows == 0


def test_without_a_default_the_stated_shape_stands():
    state = {name: loans(seen=[40.0])[name].to_numpy() for name in STATE}
    shown = loan_maturity.curve(state, np.zeros(1), 0.05).shown
    assert (np.diff(shown) >= 0).all()
    assert shown[-1] == 1.0
    assert shown[1] == pytest.approx(0.05, abs=0.02)  # 90 days behind after four months: 5%


def test_dates_are_no_part_of_it():
    table = loans(seen=[100.0]).append_column("business_date", pa.array([date(2026, 1, 1)]))
    assert weighed(table)["business_date"].to_pylist() == [date(2026, 1, 1)]


@pytest.mark.parametrize(("begins", "ends"), [(0, 60), (90, 180), (200, 228), (300, 365)])
def test_the_chance_within_a_stretch_is_that_of_loans_played_out(begins, ends):
    """Brute force: loans of three risks are drawn, and those that had shown nothing are counted."""
    random, rows = np.random.default_rng(8), 900_000
    pd = np.array([0.02, 0.1, 0.4])[np.arange(rows) % 3]
    curve = Curve(np.array([0.002, 0.03, 0.1, 0.2, 0.4, 0.6, 0.75, 0.85, 0.93, 0.97, 0.99, 1.0]), 0)
    at = np.interp(random.uniform(size=rows), [0, *curve.shown], np.linspace(0, YEAR, 13))
    at = np.where(random.uniform(size=rows) < pd, at, np.inf)
    within = (at >= begins) & (at < ends)
    begin, end = curve.shown_by(np.array([begins, ends]) / YEAR)
    said = Exposure(np.full(3, begin), np.full(3, end)).chance(np.array([0.02, 0.1, 0.4]))
    for group, chance in enumerate(said):
        fine = (at >= begins) & (np.arange(rows) % 3 == group)
        deviation = np.sqrt(chance * (1 - chance) / fine.sum())
        assert within[fine].mean() == pytest.approx(chance, abs=4 * deviation)


def newly(days: float, **state: object) -> tuple[list[int], list[float]]:
    """Return which loans were at risk in the last `days`, and what was seen of them."""
    known = Curve(np.linspace(0.1, 1, 10), 0.05)
    table, exposure = newly_shown(loans(**state), days, known)
    assert len(exposure.begin) == len(exposure.end) == table.num_rows
    return table["lead_id"].to_pylist(), table["label"].to_pylist()


def test_at_risk_is_who_was_never_behind_when_the_stretch_began():
    behind = [NEVER, 99.0, 100.0, 150.0, 40.0]
    rows, label = newly(100, seen=200.0, behind_30=behind, behind_90=[NEVER] * 4 + [100.0])
    assert rows == [0, 2, 3]
    # The third caught up. The fourth is behind; of three one went on, and of ten 5.5 (priors.yml).
    assert label == [0.0, 0.0, 0.5]


def test_a_loan_is_at_risk_until_its_horizon_and_from_its_first_day():
    rows, label = newly(100, seen=[30.0, 464.0, 465.0], behind_90=[NEVER, 364.0, 366.0])
    assert rows == [0, 1]
    assert label == [0.0, 1.0]


def test_what_could_show_of_a_loan_is_between_its_ages_when_the_stretch_begins_and_ends():
    _, exposure = newly_shown(
        loans(seen=[36.5, 146.0, 400.0]), 73.0, Curve(np.linspace(0.1, 1, 10), 0.05)
    )
    assert exposure.begin == pytest.approx([0.0, 0.2, 327 / 365])
    assert exposure.end == pytest.approx([0.1, 0.4, 1.0])
    assert exposure.mean == pytest.approx((0.1 + 0.2 + 38 / 365) / 3)


def test_of_a_book_without_loans_the_stated_shape_is_known():
    none = loans(seen=[30.0]).slice(1)
    curve = loan_maturity.curve_of(none)
    assert list(curve.shown) == list(policy.priors().defaulted_by)
    assert newly_shown(none, 28.0, curve)[0].num_rows == 0
