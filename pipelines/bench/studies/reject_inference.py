"""Risk models on all applicants, by the truth of a simulated market.

A market is simulated for longer than the horizon of a loan, and matched by broadcast. Models are
trained on outcomes known by a date and predict the later applicants, borrowers or not. Their true
probability of default is known in a simulated market only.
"""

import math
from collections.abc import Callable
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.params import RejectMethod, params
from models.scoring.estimators import Estimator, Prior
from models.training.dataset import examples
from models.training.fit_model import TooLittle, fit
from models.training.reject_inference import for_all_who_ask, inferred
from models.validation import splits
from pipelines.bench.shell import Figures, Stopwatch, count_option, seed_option, temporary_home
from pipelines.bench.studies.oracle_metrics import (
    Predictions,
    compare_metrics,
    compute_metrics,
)
from pipelines.core.arrays import FloatArray
from pipelines.core.database import connect, read_query
from pipelines.core.settings import Settings
from pipelines.ingest import ingest
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.world import World
from pipelines.transform.build import transform

QUERY = Path(__file__).parent / "sql" / "applicants.sql"
START = date(2024, 1, 1)
"""A Monday, early enough that the rate cap does not change within the market."""
CHANNELS = 5
INTERVAL = timedelta(days=14)
SUPPLY_MONTHS = (1, 4, 7, 10)
FEWEST_DAYS = 30
TEST_DAYS = 60
"""The last days, whose applicants are predicted."""
MARKET_AGES = (12, 15, 17)
"""Ages of the market, in months, at which models with and without open loans are compared."""
MONTH_DAYS = 30
WITHIN_HORIZON = 0.5 * math.erfc(-math.log((365.25 - 120) / 90) / 0.8 / math.sqrt(2))
"""Share of simulated defaults that are 90 days overdue within a year. They are 30 days overdue
60 + 90 exp(0.8 z) days after funding, z standard normal, and 90 days overdue 60 days later
(pipelines/simulate/outcomes/events.py). The truth of the world is that of any default."""

Predict = Callable[[Estimator], Predictions]


@click.command("reject-inference")
@count_option(
    "--days", 44, "Days with leads, two weeks apart; loans run for a year.", least=FEWEST_DAYS
)
@count_option("--leads-per-day", 10_000, "Leads of each day.")
@count_option("--institutions", 20, "Number of institutions.")
@seed_option
@click.pass_obj
def command(
    settings: Settings, *, days: int, leads_per_day: int, institutions: int, seed: int
) -> Figures:
    """Measure risk models on all applicants, by the truth.

    The figures have `methods`: by method of reject inference the metrics, and the `gain` over
    `none`; `oracle`, the metrics of the truth, and of the stated `prior`; `by_age`: by age of the
    market the metrics of a model with open loans (`with_open_loans`) and of `ended` loans only
    (null: too few); counts of `loans`, `defaults` and `applicants`; `seconds`.
    """
    stopwatch = Stopwatch()
    with temporary_home(settings) as home:
        last = simulate_long_market(home, days, leads_per_day, institutions, seed)
        figures = measure_methods(home, last)
    return figures | {"seed": seed, "seconds": round(stopwatch.seconds, 1)}


def simulate_long_market(
    settings: Settings, days: int, leads: int, institutions: int, seed: int
) -> date:
    """Write a market of many months, matched by broadcast, up to its marts; return their date.

    Leads arrive on one day in two weeks, outcomes are reported on the next such day, and supply
    links are known of one month in three. So the files are few, and loans have every age.

    Args:
        settings: Settings with an empty home.
        days: Days with leads, two weeks apart.
        leads: Leads of each of them.
        institutions: Number of institutions; their terms do not change.
        seed: Another seed is another market.
    """
    market = SimulatedMarket(World(settings, leads, institutions, CHANNELS, seed))
    mondays = [START + number * INTERVAL for number in range(days)]
    last = mondays[-1]
    market.write_catalogues(START, is_first=True)
    months = [date(year, month, 1) for year in (START.year, last.year) for month in SUPPLY_MONTHS]
    for month in sorted({month for month in months if START <= month <= last}):
        market.write_supply_links(month, is_first=month == START)
    outcomes = list(chain.from_iterable(market.write_leads(day, last) for day in mondays))
    market.write_outcome_table(_delay_reports(pa.concat_tables(outcomes), last))
    ingest(settings, last)
    transform(settings, last)
    return last


def _delay_reports(outcomes: pa.Table, last: date) -> pa.Table:
    """Return the outcomes with the next day that has leads as the date of their report."""
    position = outcomes.column_names.index("landed")
    days = (outcomes["landed"].to_numpy() - np.datetime64(START)).astype(int)
    next_day = np.datetime64(START) + -(-days // INTERVAL.days) * INTERVAL.days
    landed = outcomes.set_column(position, "landed", pa.array(next_day))
    return landed.filter(pa.array(next_day <= np.datetime64(last)))


def load_applicants(settings: Settings, day: date, *, since: date) -> tuple[pa.Table, FloatArray]:
    """Return one row for each lead from `since` on with a reported outcome.

    Returns:
        The columns of `training_pairs`, and the true probability of default within the horizon.
    """
    marts = settings.day_folder(settings.marts, day)
    parameters = {
        "pairs": str(marts / "training_pairs.parquet"),
        "shown": f"{settings.truth}/date=*/shown.parquet",
        "since": since,
    }
    with connect(settings) as connection:
        table = connection.sql(read_query(QUERY), params=parameters).to_arrow_table()
    truth = np.asarray(table["p_default"].to_numpy(), np.float64) * WITHIN_HORIZON
    return table.drop_columns("p_default"), truth


def measure_methods(settings: Settings, last: date) -> dict[str, Any]:
    """Return the figures on a market with marts of `last`; see `command`."""
    as_of = last - timedelta(days=TEST_DAYS)
    applicants, truth = load_applicants(settings, last, since=as_of)
    loans = examples(settings, last, "defaulted", as_of=as_of)
    everyone = examples(settings, last, "approved", as_of=as_of)

    def predict(model: Estimator) -> Predictions:
        return Predictions(model.predict(applicants, threads=settings.threads), truth)

    features = params().features_of("risk")
    by_method: dict[str, Predictions] = {}
    for method in get_args(RejectMethod):
        setting = params().reject_inference.model_copy(update={"method": method})
        table = inferred(loans, everyone, features, setting)
        by_method[method] = predict(fit(table, features, splits.in_time(table))[0])
    baseline = by_method["none"]
    ages = [age for age in MARKET_AGES if START + timedelta(days=age * MONTH_DAYS) <= as_of]
    return {
        "loans": loans.num_rows,
        "defaults": round(float(pc.sum(pc.multiply(loans["label"], loans["weight"])).as_py())),
        "applicants": applicants.num_rows,
        "true_rate": round(float(truth.mean()), 6),
        "methods": {
            method: compute_metrics(predictions)
            | ({} if method == "none" else {"gain": compare_metrics(predictions, baseline)})
            for method, predictions in by_method.items()
        },
        "prior": compute_metrics(predict(Prior("risk", "compared"))),
        "oracle": compute_metrics(Predictions(truth, truth)),
        "by_age": {f"{age}": _measure_at_age(settings, last, age, predict) for age in ages},
    }


def _measure_at_age(
    settings: Settings, last: date, age: int, predict: Predict
) -> dict[str, dict[str, float] | None]:
    """Return the metrics of models trained when the market was `age` months old."""
    as_of = START + timedelta(days=age * MONTH_DAYS)
    loans = examples(settings, last, "defaulted", as_of=as_of)
    year_ago = as_of - timedelta(days=366 + params().decision_maturity_days)
    samples = {
        "with_open_loans": loans,
        "ended": loans.filter(pc.less(loans["business_date"], year_ago)),
    }
    return {
        name: _fit_and_measure(for_all_who_ask(settings, last, sample, as_of=as_of), predict)
        for name, sample in samples.items()
    }


def _fit_and_measure(loans: pa.Table, predict: Predict) -> dict[str, float] | None:
    try:
        model, _ = fit(loans, params().features_of("risk"), splits.in_time(loans))
    except TooLittle:
        return None
    return compute_metrics(predict(model))
