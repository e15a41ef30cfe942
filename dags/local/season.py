"""Play a season in this one process: each day is simulated, run through its DAG, and answered.

The command line's `season` becomes this process, told its plan as one JSON object. Retraining is
the daily DAG's own: each week's first run finds no models of its Monday and trains them.
"""

import json
import sys
from collections.abc import Mapping
from datetime import date
from typing import Any, TextIO

import duckdb
import numpy as np

from dags.local.in_process import day_runner
from dags.local.lock import alone
from dags.local.terminal import printing_to
from pipelines.core.errors import BanyanError
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import scorecard, scorecard_page
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.table import headline
from pipelines.reports.reconcile_day import figures
from pipelines.simulate import Plan, begin
from pipelines.simulate.respond import answered
from pipelines.simulate.shocks import Shock
from pipelines.simulate.world import Columns


def main() -> int:
    """Play every day of the plan and stop at the first that fails."""
    told = json.loads(sys.argv[1])
    shocks = tuple(Shock.parse(text) for text in told["shocks"])
    plan = Plan(**told | {"start": date.fromisoformat(told["start"]), "shocks": shocks})
    settings = Settings()
    log = settings.logs / "season" / f"date={plan.start}.log"
    with printing_to(log) as (out, err):
        try:
            with alone(settings):
                days = play(settings, plan, err)
                worth, page = scorecard_page(settings, *_ends(days))
        except BanyanError as error:
            print(error, file=err)
            return 1
        print(f"{headline(worth)}\nThe scorecard's page: {page}", file=err)
        print(json.dumps({"days": days, "scorecard": worth}), file=out)
    return 0


def play(settings: Settings, plan: Plan, err: TextIO) -> dict[str, dict[str, Any]]:
    """Play the days after the plan's broadcast and return the figures of each.

    A season that was interrupted goes on where it stopped: a day whose page is published is not
    played again, the world only answers its deliveries anew, which gives the same answers.

    Raises:
        BanyanError: A day failed; the days after it were not simulated.
    """
    log = settings.logs / "season" / f"date={plan.start}.log"
    market = begin(settings, plan)
    dates = plan.dates[len(plan.broadcast_dates) :]
    run_day = day_runner(settings, dates[-1], log, err, tells_steps=False)
    to_come: list[Columns] = []
    days = {}
    for day in dates:
        if (settings.day_folder(settings.reports, day) / MANIFEST).is_file():
            found = figures(settings, day) | {"seconds": 0.0, "state": "success"}
        else:
            market.send(day, plan.start)
            if to_come:
                market.land_outcomes(to_come, day, first=day, name="answers")
            found = run_day(day)
        answers = answered(settings, market, day)
        to_come = [after(outcomes, day) for outcomes in [*to_come, answers.outcomes]]
        found = found | known_so_far(settings, dates[0], day) | answers.counts
        days[f"{day}"] = found
        worth = scorecard(settings, day, day, with_truth=True)
        print(_line(day, found, worth), file=err, flush=True)
    return days


def after(outcomes: Columns, day: date) -> Columns:
    """Return the outcomes that are sent after `day`."""
    is_to_come = outcomes["landed"] > np.datetime64(day)
    return {name: column[is_to_come] for name, column in outcomes.items()}


def _ends(days: dict[str, Any]) -> tuple[date, date]:
    return date.fromisoformat(min(days)), date.fromisoformat(max(days))


def known_so_far(settings: Settings, first: date, day: date) -> dict[str, int]:
    """Return of how many pairs of leads since `first` an approval and a loan is known on `day`."""
    marts = settings.day_folder(settings.marts, day)
    with duckdb.connect() as connection:
        approved, funded = connection.execute(
            """
            with season as (
                select channel_id, lead_id, institution_id, product_id
                from read_parquet($pairs) where business_date >= $first
            ),
            told as (
                select distinct channel_id, lead_id, institution_id, product_id, event
                from read_parquet($outcomes)
            )
            select
                count(*) filter (event = 'approved'), count(*) filter (event = 'funded')
            from told semi join season using (channel_id, lead_id, institution_id, product_id)
            """,
            {
                "pairs": str(marts / "training_pairs.parquet"),
                "outcomes": str(marts / "outcomes.parquet"),
                "first": first,
            },
        ).fetchall()[0]
    return {"approved": approved, "funded": funded}


def _line(day: date, found: dict[str, Any], worth: Mapping[str, Figures]) -> str:
    def share(policy: str, figure: str) -> str:
        value = worth[policy][figure]
        return "unknown" if value is None else f"{value:.0%}"

    return (
        f"{day}: {found['received']:,} leads, {found['matches']:,} matches; "
        f"cost {share('banyan', 'cost_share_of_yield')} of yield "
        f"(broadcast {share('broadcast', 'cost_share_of_yield')}), "
        f"value {share('banyan', 'value_share_of_oracle')} of the oracle's; so far "
        f"{found['approved']:,} approved, {found['funded']:,} funded; {found['seconds']:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
