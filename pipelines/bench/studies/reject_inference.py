"""Risk models on all applicants, by the truth of a simulated market.

A market is simulated for longer than the horizon of a loan, and matched by broadcast. Models are
trained on outcomes known by a date and predict the later applicants, borrowers or not. Their true
probability of default is known in a simulated market only.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.params import RejectMethod, params
from models.scoring.estimators import Estimator, Prior
from models.training.dataset import load_examples
from models.training.fit_model import InsufficientData, fit
from models.training.reject_inference import add_rejected_applicants, infer_rejected
from models.validation import splits
from pipelines.bench.shell import Figures, Stopwatch, count_option, seed_option, temporary_home
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.data_provenance import register_history
from pipelines.core.database import connect, read_query
from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.settings import Settings
from pipelines.core.statistics import auc_of_counts, mean_bin_error
from pipelines.ingest.ingest_day import ingest
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

RESAMPLES = 200
SEED = 20_261_124
METRICS = ("auc", "ece", "mean_ratio")
"""Metrics of the predictions; `mean_ratio` is calibration in the large."""


@dataclass(frozen=True)
class Predictions:
    """Predicted probabilities of some people, and the true ones.

    Metrics against true probabilities are expected values, not values of one draw of outcomes.
    """

    predicted: FloatArray
    truth: FloatArray

    def auc(self, counts: FloatArray) -> float:
        """Return the expected AUC: each person is a default with the true probability."""
        positives = np.bincount(self._code, weights=counts * self.truth)
        negatives = np.bincount(self._code, weights=counts * (1 - self.truth))
        return float(auc_of_counts(np.asarray(positives), np.asarray(negatives)))

    def ece(self, counts: FloatArray) -> float:
        """Return the mean distance from the truth, over bins of equal count by prediction."""
        distance = (counts * (self.predicted - self.truth))[self._order]
        return mean_bin_error(distance, float(counts.sum()))

    def mean_ratio(self, counts: FloatArray) -> float:
        """Return the mean prediction over the mean truth (calibration in the large)."""
        return float((counts * self.predicted).sum() / (counts * self.truth).sum())

    @cached_property
    def _code(self) -> IntArray:
        """The position of each prediction among the distinct ones."""
        return np.unique(self.predicted, return_inverse=True)[1]

    @cached_property
    def _order(self) -> IntArray:
        return np.argsort(self.predicted, kind="stable")

    def metrics(self, counts: FloatArray) -> FloatArray:
        """Return `METRICS`, with each person counted `counts` times."""
        return np.array([self.auc(counts), self.ece(counts), self.mean_ratio(counts)])


def compute_metrics(predictions: Predictions) -> dict[str, float]:
    """Return each metric with its 95% bootstrap interval over people."""
    people = len(predictions.truth)
    resampled = np.array([predictions.metrics(counts) for counts in _resamples(people)])
    return _with_intervals(predictions.metrics(np.ones(people)), resampled)


def compare_metrics(predictions: Predictions, baseline: Predictions) -> dict[str, float]:
    """Return the difference of each metric from that of `baseline`, on the same people."""

    def difference(counts: FloatArray) -> FloatArray:
        return predictions.metrics(counts) - baseline.metrics(counts)

    people = len(predictions.truth)
    resampled = np.array([difference(counts) for counts in _resamples(people)])
    return _with_intervals(difference(np.ones(people)), resampled)


def _resamples(people: int) -> Iterator[FloatArray]:
    random = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        drawn = random.integers(0, people, people)
        yield np.bincount(drawn, minlength=people).astype(np.float64)


def _with_intervals(point: FloatArray, resampled: FloatArray) -> dict[str, float]:
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    intervals = {}
    for number, name in enumerate(METRICS):
        for key, values in ((name, point), (f"{name}_low", low), (f"{name}_high", high)):
            intervals[key] = round(float(values[number]), 5)
    return intervals


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
    market.write_outcome_table(delay_reports(pa.concat_tables(outcomes), START, last, INTERVAL))
    register_outcomes(market)
    ingest(settings, last)
    transform(settings, last)
    return last


def register_outcomes(market: SimulatedMarket) -> None:
    """Register the written outcomes as history: others count only for what was delivered."""
    files = market.corruptor.take_files("outcomes")
    register_history(market.world.settings, "a long market", "simulate", files)


def delay_reports(outcomes: pa.Table, start: date, last: date, interval: timedelta) -> pa.Table:
    """Return the outcomes with the next day that has leads as the date of their report.

    Days have leads every `interval` from `start` to `last`.
    """
    position = outcomes.column_names.index("landed")
    days = (outcomes["landed"].to_numpy() - np.datetime64(start)).astype(int)
    next_day = np.datetime64(start) + -(-days // interval.days) * interval.days
    landed = outcomes.set_column(position, "landed", pa.array(next_day))
    return landed.filter(pa.array(next_day <= np.datetime64(last)))


def load_applicants(settings: Settings, day: date, *, since: date) -> tuple[pa.Table, FloatArray]:
    """Return one row for each lead from `since` on with a reported outcome.

    Returns:
        The columns of `training_pairs`, and the true probability of default within the horizon.
    """
    marts = settings.day_folder(settings.marts, day)
    parameters = {
        "pairs": list_mart_files(marts, "training_pairs"),
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
    loans = load_examples(settings, last, "defaulted", as_of=as_of)
    everyone = load_examples(settings, last, "approved", as_of=as_of)

    def predict(model: Estimator) -> Predictions:
        return Predictions(model.predict(applicants, threads=settings.threads), truth)

    features = params().model_features("risk")
    by_method: dict[str, Predictions] = {}
    for method in get_args(RejectMethod):
        setting = params().reject_inference.model_copy(update={"method": method})
        table = infer_rejected(loans, everyone, features, setting)
        by_method[method] = predict(fit(table, features, splits.split_by_time(table))[0])
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
    loans = load_examples(settings, last, "defaulted", as_of=as_of)
    year_ago = as_of - timedelta(days=366 + params().decision_maturity_days)
    samples = {
        "with_open_loans": loans,
        "ended": loans.filter(pc.less(loans["business_date"], year_ago)),
    }
    return {
        name: _fit_and_measure(
            add_rejected_applicants(settings, last, sample, as_of=as_of), predict
        )
        for name, sample in samples.items()
    }


def _fit_and_measure(loans: pa.Table, predict: Predict) -> dict[str, float] | None:
    try:
        model, _ = fit(loans, params().model_features("risk"), splits.split_by_time(loans))
    except InsufficientData:
        return None
    return compute_metrics(predict(model))
