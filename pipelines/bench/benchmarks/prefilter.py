"""The loss of value by the prefilter, on a published day.

Every eligible pair is scored. Then the day is prefiltered as a large day would be, at several
numbers of pairs a lead, and planned again from the remaining pairs. The loss that the prefilter
estimates is compared with the actual one."""

from datetime import date
from pathlib import Path

import click
import duckdb
import pyarrow as pa

from expectations import policy
from models import model_set as models
from models.model_set import ModelSet
from pipelines.bench.shell import Figures, Stopwatch, count_option, show_progress, split_list
from pipelines.core.database import connect, run_query
from pipelines.core.errors import UsageError
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.build_problem import DayPlan, plan_day
from pipelines.matches.shadow_prices import create_product_prices, measure_sample_loss
from pipelines.pairs.eligibility.engine import Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.prefilter import Prefiltered, select_promising_pairs
from pipelines.pairs.scoring import ASSUMED_WIDTHS, score_eligible_pairs, score_leads
from pipelines.pairs.valuation import least_odds_sql, worthwhile_sql

SQL = Path(__file__).parent / "sql"


@click.command("prefilter")
@click.option("--date", "day", required=True, help="A business date with published marts.")
@click.option(
    "--per-lead",
    default="5,10,20",
    show_default=True,
    callback=split_list,
    metavar="N,N,...",
    help="Numbers of pairs a lead.",
)
@count_option("--sample", 1_000, "Leads in the sample that estimates the loss.")
@click.pass_obj
def command(settings: Settings, *, day: str, per_lead: tuple[str, ...], sample: int) -> Figures:
    """Measure the loss of value by the prefilter, on a published day.

    The figures have `leads`, `pairs` (eligible), `value` (of the plan from all pairs), and for each
    number of pairs a lead: `pairs`, `value`, `loss` (share of the value), `estimated_loss` (from
    the sample, at the plan's prices) and `seconds` of the prefilter.
    """
    try:
        business_date = date.fromisoformat(day)
        numbers = [int(text) for text in per_lead]
    except ValueError:
        raise UsageError("--date is a date, --per-lead numbers such as 5,10,20.") from None
    return measure_prefilter(settings, business_date, numbers, sample)


def measure_prefilter(
    settings: Settings, day: date, numbers: list[int], sampled_leads: int
) -> Figures:
    """Return the figures of `command`.

    Raises:
        InputMissing: The day's marts or models are not published.
    """
    marts = settings.day_folder(settings.marts, day)
    read_manifest(marts)
    model_set = models.load(settings, day)
    stopwatch = Stopwatch()
    with connect(settings) as connection:
        load_leads(connection, marts)
        connection.read_parquet(str(marts / "leads.parquet")).create_view("mart_leads")
        score_leads(connection, model_set)
        eligible = find_eligible_pairs(connection, load_products(connection, marts, day), day)
        _score_all(connection, model_set, eligible, day)
        whole = _plan(connection, day, eligible)
        prefiltered = {
            f"{number}": _prefilter(connection, model_set, eligible, number, sampled_leads, day)
            for number in numbers
        }
        by_number = {
            number: _measure_loss(connection, day, whole, result, seconds)
            for number, (result, seconds) in prefiltered.items()
        }
    return {
        "leads": len(eligible.bitsets),
        "pairs": int(eligible.pairs_per_lead.sum()),
        "value": whole.value,
        "per_lead": by_number,
        "seconds": round(stopwatch.seconds, 1),
    }


def _score_all(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, eligible: Eligibility, day: date
) -> None:
    show_progress("prefilter", f"scoring {eligible.pairs_per_lead.sum():,} pairs")
    batches = score_eligible_pairs(connection, model_set, eligible, ASSUMED_WIDTHS)
    connection.register("every_scored", pa.Table.from_batches(list(batches)))
    connection.execute(
        f"""
        create table every_pair as
        select every_scored.*
        from every_scored
        join (select channel_id, lead_id, {least_odds_sql(day)} as least_odds from leads)
            using (channel_id, lead_id)
        where {worthwhile_sql()}
        order by all
        """
    )
    connection.execute("create table drawn_pairs as from every_scored")
    connection.unregister("every_scored")


def _prefilter(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    eligible: Eligibility,
    per_lead: int,
    sampled_leads: int,
    day: date,
) -> tuple[Prefiltered, float]:
    show_progress("prefilter", f"selecting {per_lead} pairs a lead")
    changed = {"max_pairs": 0, "per_lead": per_lead, "sampled_leads": sampled_leads}
    limits = policy.pairs().candidates.model_copy(update=changed)
    stopwatch = Stopwatch()
    result = select_promising_pairs(connection, model_set, eligible, limits, day)
    return result, stopwatch.seconds


def _plan(connection: duckdb.DuckDBPyConnection, day: date, eligible: Eligibility) -> DayPlan:
    """Return the plan from the scored pairs that are in `eligible`."""
    connection.register("kept_rows", eligible.select_pairs_between())
    run_query(connection, SQL / "select_prefiltered.sql")
    connection.unregister("kept_rows")
    return plan_day(
        connection,
        day,
        max_offers=policy.value().max_offers_per_lead,
        limits=policy.limits().on(day),
        guarantees=policy.guarantees(),
    )


def _measure_loss(
    connection: duckdb.DuckDBPyConnection,
    day: date,
    whole: DayPlan,
    result: Prefiltered,
    seconds: float,
) -> Figures:
    plan = _plan(connection, day, result.eligibility)
    create_product_prices(connection, plan.price_table)
    loss = 0.0
    if result.sample is not None:
        sampled_leads = result.facts["sampled_leads"] // 2
        loss = measure_sample_loss(connection, result.sample, sampled_leads, plan.bound)
    return {
        "pairs": result.facts["kept"],
        "value": plan.value,
        "loss": round(1 - plan.value / whole.value, 6),
        "estimated_loss": round(loss, 6),
        "seconds": round(seconds, 1),
    }
