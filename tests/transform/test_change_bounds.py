"""The bound on chance in the tests of reported rates, against exact binomial tails."""

from pathlib import Path

import duckdb
import numpy as np
import pytest
from jinja2 import Environment
from scipy import stats

from pipelines.core.settings import PROJECT

MACROS = Path(PROJECT) / "dbt_project" / "macros" / "sudden_change.sql"


def gain(successes: int, trials: int, rate: float) -> float:
    """Return what the SQL of the macro computes."""
    call = "{{ log_likelihood_gain('successes', 'trials', 'rate') }}"
    sql = Environment(autoescape=False).from_string(MACROS.read_text("utf-8") + call).render()
    values = "$1::double as successes, $2::double as trials, $3::double as rate"
    query = f"select {sql} from (select {values})"
    ((found,),) = duckdb.execute(query, [successes, trials, rate]).fetchall()
    return float(found)


@pytest.mark.parametrize("trials", [1, 20, 57, 400])
@pytest.mark.parametrize("rate", [0.003, 0.05, 0.35, 0.9])
def test_chance_exceeds_no_bound(trials: int, rate: float):
    """The exact tail of the binomial, and of draws of different rates, is below exp(-gain)."""
    rates = np.random.default_rng(trials).beta(rate * 5, (1 - rate) * 5, trials)
    mixed = np.array([1.0])
    for each in rates:
        mixed = np.convolve(mixed, [1 - each, each])
    for successes in range(0, trials + 1, max(1, trials // 25)):
        is_upper = successes >= trials * rate
        exact = (
            stats.binom.sf(successes - 1, trials, rate)
            if is_upper
            else stats.binom.cdf(successes, trials, rate)
        )
        assert exact <= np.exp(-gain(successes, trials, rate)) * (1 + 1e-9)
        mean = float(rates.mean())
        tail = mixed[successes:].sum() if successes >= mixed @ np.arange(trials + 1) else None
        if tail is not None:
            assert tail <= np.exp(-gain(successes, trials, mean)) * (1 + 1e-6) + 1e-12


def test_nothing_is_gained_by_the_rate_itself():
    assert gain(0, 0, 0.5) == 0
    assert gain(7, 20, 0.35) == pytest.approx(0, abs=1e-12)
    assert gain(20, 20, 0.5) == pytest.approx(20 * np.log(2))
    assert gain(0, 20, 0.5) == pytest.approx(20 * np.log(2))
