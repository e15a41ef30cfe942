"""Play a season in this process: each day is simulated, run through its DAG, and answered.

Retraining is the daily DAG's own: the first run of each week finds no models of its Monday and
trains them.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from dags.local.in_process import DayFigures, prepare_day_runner
from dags.local.terminal import redirect_output, stop_at_once
from pipelines.core.database import connect, run_query
from pipelines.core.home.lock import lock_home
from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import compute_scorecard, publish_scorecard
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.metric_labels import format_headline
from pipelines.reports.reconcile_day import load_figures
from pipelines.simulate import SimulationPlan, start_market
from pipelines.simulate.respond import respond_to_deliveries, update_prices
from pipelines.simulate.world import Columns

QUERY = Path(__file__).parent / "sql" / "known_outcomes.sql"


def play_season(settings: Settings, plan: SimulationPlan) -> dict[str, Any]:
    """Play every day of the plan and return `days`, each day's figures, and the `scorecard`.

    Raises:
        BanyanError: A day failed; the days after it were not simulated.
    """
    log = settings.logs / "season" / f"date={plan.start}.log"
    with lock_home(settings), redirect_output(log) as err, stop_at_once(err):
        days = _play_days(settings, plan, log, err)
        first, last = (date.fromisoformat(end(days)) for end in (min, max))
        card, page = publish_scorecard(settings, first, last)
        print(f"{format_headline(card)}\nThe scorecard's page: {page}", file=err)
    return {"days": days, "scorecard": card}


def _play_days(
    settings: Settings, plan: SimulationPlan, log: Path, err: TextIO
) -> dict[str, DayFigures]:
    """Play the days after the plan's broadcast and return the figures of each.

    An interrupted season continues where it stopped: a day with a published page is not run again.
    Only its deliveries are answered again, with the same answers.
    """
    market = start_market(settings, plan)
    dates = plan.dates[len(plan.broadcast_dates) :]
    run_day = prepare_day_runner(settings, dates[-1], lambda _: log, err, shows_steps=False)
    pending: list[Columns] = []
    days = {}
    for day in dates:
        if (settings.day_folder(settings.reports, day) / MANIFEST).is_file():
            day_figures = load_figures(settings, day) | {"seconds": 0.0, "state": "success"}
        else:
            update_prices(settings, market, day)
            market.write_day(day, plan.start)
            if pending:
                market.write_outcomes(pending, day, first=day, name="answers")
            day_figures = run_day(day)
        answers = respond_to_deliveries(settings, market, day)
        pending = [select_later(outcomes, day) for outcomes in [*pending, answers.outcomes]]
        days[f"{day}"] = day_figures | count_known(settings, dates[0], day) | answers.counts
        card = compute_scorecard(settings, day, day, with_truth=True)
        print(_describe_day(day, days[f"{day}"], card), file=err, flush=True)
    return days


def select_later(outcomes: Columns, day: date) -> Columns:
    """Return the outcomes that are sent after `day`."""
    is_later = outcomes["landed"] > np.datetime64(day)
    return {name: column[is_later] for name, column in outcomes.items()}


def count_known(settings: Settings, first: date, day: date) -> dict[str, int]:
    """Return how many pairs of leads since `first` have a known approval, and loan, on `day`."""
    marts = settings.day_folder(settings.marts, day)
    parameters = {
        "pairs": list_mart_files(marts, "training_pairs"),
        "outcomes": list_mart_files(marts, "outcomes"),
        "first": first,
    }
    with connect(settings) as connection:
        query = run_query(connection, QUERY, parameters)
        approved, funded = query.fetchall()[0]
    return {"approved": approved, "funded": funded}


def _describe_day(day: date, found: DayFigures, card: Mapping[str, Figures]) -> str:
    def share(policy: str, figure: str) -> str:
        value = card[policy][figure]
        return "unknown" if value is None else f"{value:.0%}"

    return (
        f"{day}: {found['received']:,} leads, {found['matches']:,} matches; "
        f"fees {share('banyan', 'fee_share_of_yield')} of yield "
        f"(broadcast {share('broadcast', 'fee_share_of_yield')}), "
        f"cost {share('banyan', 'cost_share_of_yield')} "
        f"({share('broadcast', 'cost_share_of_yield')}), "
        f"surplus {share('banyan', 'surplus_share_of_oracle')} of the oracle's; so far "
        f"{found['approved']:,} approved, {found['funded']:,} funded; {found['seconds']:.0f} s"
    )
