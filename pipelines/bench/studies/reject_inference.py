"""Measure risk models on everyone who asks, by the truth of a simulated market.

A market is simulated for long enough that loans run their horizon, and matched by broadcast.
Models learn from what had been told by a date; those who ask after it are judged, borrowers or not,
against their true probability of default. That is known in a simulated market alone.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc

from models.params import RejectMethod, params
from models.scoring.estimators import Estimator, Prior
from models.training.dataset import examples
from models.training.fit_model import TooLittle, fit
from models.training.reject_inference import for_all_who_ask, inferred
from models.validation import splits
from pipelines.bench.fixtures.applicants import applicants
from pipelines.bench.fixtures.home import own_home
from pipelines.bench.fixtures.long_market import START, played
from pipelines.bench.studies.oracle_metrics import Judged, figures, gain
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings

FEWEST_DAYS = 30
JUDGED_DAYS = 60
"""The last days, whose applicants are judged."""
MONTHS = (12, 15, 17)
"""Ages of the market, in months, at which running loans are tried."""
MONTH_DAYS = 30

Judge = Callable[[Estimator], Judged]


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return how well each way of learning judges all applicants.

    Returns:
        `methods`: by way of reject inference the figures of `by_truth.figures`, and against `none`
        the `gain` of those that do something; `oracle`, the truth itself, and `prior`; `by_age`: by
        months since the market began the figures `with_running` loans and of `ended` loans alone
        (null: too little to learn from); counts of `loans`, `defaults`, `applicants`; `seconds`.

    Raises:
        UsageError: The market is too short for a loan to end.
    """
    asked = _parser().parse_args(options)
    if asked.days < FEWEST_DAYS:
        raise UsageError(
            f"--days is {asked.days}, two weeks apart, and loans run for a year: it is at least "
            f"{FEWEST_DAYS}. Nothing was measured."
        )
    began = time.perf_counter()
    with own_home(settings) as home:
        last = played(home, asked.days, asked.leads_a_day, asked.institutions, asked.seed)
        found = measure(home, last)
    return found | {"seed": asked.seed, "seconds": round(time.perf_counter() - began, 1)}


def measure(settings: Settings, last: date) -> dict[str, Any]:
    """Return the figures on a market that stands up to `last`; see `main`."""
    as_of = last - timedelta(days=JUDGED_DAYS)
    judged, truth = applicants(settings, last, since=as_of)
    loans = examples(settings, last, "defaulted", as_of=as_of)
    everyone = examples(settings, last, "approved", as_of=as_of)
    threads = settings.threads

    def of(model: Estimator) -> Judged:
        return Judged(model.predict(judged, threads=threads), truth)

    features = params().features_of("risk")
    by_method: dict[str, Judged] = {}
    for method in get_args(RejectMethod):
        how = params().reject_inference.model_copy(update={"method": method})
        table = inferred(loans, everyone, features, how)
        by_method[method] = of(fit(table, features, splits.in_time(table))[0])
    return {
        "loans": loans.num_rows,
        "defaults": round(float(pc.sum(pc.multiply(loans["label"], loans["weight"])).as_py())),
        "applicants": judged.num_rows,
        "true_rate": round(float(truth.mean()), 6),
        "methods": {
            method: figures(result)
            | ({} if method == "none" else {"gain": gain(result, by_method["none"])})
            for method, result in by_method.items()
        },
        "prior": figures(of(Prior("risk", "compared"))),
        "oracle": figures(Judged(truth, truth)),
        "by_age": {f"{age}": _of_age(settings, last, age, of) for age in _ages(as_of)},
    }


def _ages(as_of: date) -> list[int]:
    return [age for age in MONTHS if START + timedelta(days=age * MONTH_DAYS) <= as_of]


def _of_age(settings: Settings, last: date, age: int, of: Judge) -> dict[str, Any]:
    """Return the figures of what could be learned when the market was `age` months old."""
    as_of = START + timedelta(days=age * MONTH_DAYS)
    loans = examples(settings, last, "defaulted", as_of=as_of)
    year_ago = as_of - timedelta(days=366 + params().decision_maturity_days)
    parts = {
        "with_running": loans,
        "ended": loans.filter(pc.less(loans["business_date"], year_ago)),
    }
    return {
        name: _learned(for_all_who_ask(settings, last, part, as_of=as_of), of)
        for name, part in parts.items()
    }


def _learned(loans: pa.Table, of: Judge) -> dict[str, Any] | None:
    try:
        model, _ = fit(loans, params().features_of("risk"), splits.in_time(loans))
    except TooLittle:
        return None
    return figures(of(model))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench reject", description=__doc__)
    parser.add_argument("--days", type=int, default=44, metavar="N", help="two weeks apart")
    parser.add_argument("--leads-a-day", type=int, default=10_000, metavar="N")
    parser.add_argument("--institutions", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    return parser
