"""`bench candidates`: what cutting the pairs of a day to the promising ones costs its plan.

On a published day every eligible pair is scored; then the day is cut as a large day would be, at
several numbers of pairs a lead, and planned anew from the pairs kept. The loss that the cut tells
of itself stands beside the loss that there really is.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from models import model_set as models
from models.model_set import ModelSet
from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.build_problem import DayPlan, plan_day
from pipelines.pairs.eligibility.engine import Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.prefilter import Prefiltered, select_promising_pairs
from pipelines.pairs.prefilter_loss import measure_loss
from pipelines.pairs.scoring import ASSUMED_WIDTHS, score_eligible_pairs, score_leads
from pipelines.pairs.valuation import minimum_value_sql


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return what each cut of a day costs.

    Returns:
        `leads`, `pairs` (eligible), `value` (of the plan made from all of them), `seconds` and
        for each number of pairs a lead: `kept`, `value`, `loss` (share of the value), `told` (the
        loss measured on the sample, at the plan's prices), `seconds` of the cut alone.

    Raises:
        InputMissing: The day's marts or models are not published.
        UsageError: A number of pairs a lead is none.
    """
    asked = _parser().parse_args(options)
    try:
        day = date.fromisoformat(asked.date)
        numbers = [int(text) for text in asked.per_lead.split(",")]
    except ValueError:
        raise UsageError("--date is a date, --per-lead numbers such as 5,10,20.") from None
    marts = settings.day_folder(settings.marts, day)
    read_manifest(marts)
    model_set = models.load(settings, day)
    began = time.perf_counter()
    with connect(settings) as connection:
        load_leads(connection, marts)
        score_leads(connection, model_set)
        judged = find_eligible_pairs(connection, load_products(connection, marts, day), day)
        _score_all(connection, model_set, judged)
        whole = _planned(connection, day, judged)
        cuts = {
            f"{number}": _cut(connection, model_set, judged, number, asked.sample)
            for number in numbers
        }
        told = {
            number: _told(connection, day, whole, cut, seconds)
            for number, (cut, seconds) in cuts.items()
        }
    return {
        "leads": len(judged.bitsets),
        "pairs": int(judged.pairs_per_lead.sum()),
        "value": whole.value,
        "per_lead": told,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _score_all(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, judged: Eligibility
) -> None:
    _say(f"scoring {judged.pairs_per_lead.sum():,} pairs")
    every = pa.Table.from_batches(
        list(score_eligible_pairs(connection, model_set, judged, ASSUMED_WIDTHS))
    )
    connection.register("every_scored", every)
    connection.execute(
        f"create table every_pair as from every_scored where {minimum_value_sql()} order by all"
    )
    connection.unregister("every_scored")


def _cut(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    judged: Eligibility,
    per_lead: int,
    sampled_leads: int,
) -> tuple[Prefiltered, float]:
    _say(f"cutting to {per_lead} a lead")
    changed = {"most_pairs": 0, "per_lead": per_lead, "sampled_leads": sampled_leads}
    began = time.perf_counter()
    found = select_promising_pairs(
        connection, model_set, judged, policy.pairs().candidates.model_copy(update=changed)
    )
    return found, time.perf_counter() - began


def _planned(connection: duckdb.DuckDBPyConnection, day: date, judged: Eligibility) -> DayPlan:
    """Return the plan of the pairs that `judged` holds."""
    connection.register("kept_rows", judged.pairs_between())
    connection.execute(
        """
        create or replace table pairs as
        select
            every_pair.*,
            row_number() over (
                order by channel_id, lead_id, institution_id, product_id
            ) - 1 as row
        from every_pair
        semi join (
            select channel_id, lead_id, institution_id, product_id
            from kept_rows join leads using (lead_row) join products using (product_row)
        ) as kept using (channel_id, lead_id, institution_id, product_id)
        order by row
        """
    )
    connection.unregister("kept_rows")
    return plan_day(
        connection,
        day,
        most_offers=policy.value().most_offers_per_lead,
        limits=policy.limits().on(day),
    )


def _told(
    connection: duckdb.DuckDBPyConnection,
    day: date,
    whole: DayPlan,
    cut: Prefiltered,
    seconds: float,
) -> dict[str, Any]:
    plan = _planned(connection, day, cut.eligibility)
    names = connection.sql(
        "select institution_id, product_id from products order by product_row"
    ).fetchall()
    prices = dict(zip(names, plan.price_of_quota.tolist(), strict=True))
    sample = cut.sample if cut.sample is not None else pa.table({})
    return {
        "kept": cut.facts["kept"],
        "value": plan.value,
        "loss": round(1 - plan.value / whole.value, 6),
        "told": round(measure_loss(connection, sample, prices), 6),
        "seconds": round(seconds, 1),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines bench candidates", description=__doc__
    )
    parser.add_argument("--date", required=True, help="a date whose marts are published")
    parser.add_argument("--per-lead", default="5,10,20", metavar="N,N,…")
    parser.add_argument(
        "--sample", type=int, default=1_000, metavar="N", help="leads in the sample"
    )
    return parser


def _say(words: str) -> None:
    """Tell whoever watches a terminal what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"bench candidates: {words}\n")
