"""What a logged day says of another policy: every pair, its chance, what came of it, who makes it.

A pair's chance is its propensity: 1 if it was planned and could not be displaced, that of the lot
where the lot decided, 0 elsewhere; nothing has to be guessed. A match's reward is what it brought
by the outcomes that are known, valued as `policy.value()` values an expectation, with 1 or 0 for
every probability; what was lent counts with the risk that it was scored with until it is 90 days
overdue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from expectations.policy_types import Value
from models.model_set import ModelSet
from pipelines.core.arrays import BoolArray
from pipelines.core.database import connect, create_known_view
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.evaluation.match_outcomes import create_results_view
from pipelines.evaluation.off_policy.estimate import Log
from pipelines.matches.build_problem import plan_day
from pipelines.matches.exploration_log import KEY, create_chances_view
from pipelines.pairs.eligibility.engine import find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.prefilter import select_promising_pairs
from pipelines.pairs.scoring import ASSUMED_WIDTHS, score_eligible_pairs, score_leads
from pipelines.pairs.valuation import (
    PAIR_SCHEMA,
    PRODUCT_TERMS,
    load_pairs,
    minimum_value_sql,
    recompute_value_sql,
    value_sql,
)

Challenger = Callable[[duckdb.DuckDBPyConnection, Settings, date], int]
"""Leaves, as table `pairs`, those that it would choose from; returns its most offers a lead."""


@dataclass(frozen=True)
class Logged:
    """Pairs of some days; columns of one length."""

    log: Log
    planned: BoolArray
    """Which pairs the logged policy planned: made matches, but for the lot."""
    judged: BoolArray
    """Which pairs the challenger plans."""


def by_value(value: Value) -> Challenger:
    """Return the challenger that weighs the same scores by another value policy."""

    def load(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> int:
        load_pairs(connection, settings.day_folder(settings.pairs, day), value)
        return value.most_offers_per_lead

    return load


def by_models(models_of: Callable[[date], ModelSet]) -> Challenger:
    """Return the challenger that scores each day by other models, from the features of the day."""

    def load(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> int:
        model_set = models_of(day)
        rules = load_products(connection, settings.day_folder(settings.marts, day), day)
        score_leads(connection, model_set)
        judged = find_eligible_pairs(connection, rules, day)
        chosen = select_promising_pairs(connection, model_set, judged, policy.pairs().candidates)
        batches = score_eligible_pairs(connection, model_set, chosen.eligibility, ASSUMED_WIDTHS)
        connection.register("rescored", pa.Table.from_batches(list(batches), PAIR_SCHEMA))
        connection.execute(
            f"""
            create or replace table pairs as
            select *, row_number() over (order by {KEY}) - 1 as row
            from rescored
            where {minimum_value_sql()}
            order by row
            """
        )
        connection.unregister("rescored")
        return policy.value().most_offers_per_lead

    return load


def logged(
    settings: Settings, days: Sequence[date], challenger: Challenger, known_by: date
) -> Logged:
    """Return what some days say of a challenger.

    Args:
        settings: Where the days are published.
        days: Business dates that were matched.
        challenger: Whose plan of each day is judged.
        known_by: Outcomes that the lake took in on it or before count.

    Raises:
        InputMissing: A day is not published.
    """
    found = [_logged(settings, day, challenger, known_by) for day in days]
    return Logged(
        Log.together([each.log for each in found]),
        np.concatenate([each.planned for each in found]),
        np.concatenate([each.judged for each in found]),
    )


def _logged(settings: Settings, day: date, challenger: Challenger, known_by: date) -> Logged:
    marts, pairs, matches = (
        settings.day_folder(root, day)
        for root in (settings.marts, settings.pairs, settings.matches)
    )
    for folder in (marts, pairs, matches):
        read_manifest(folder)
    with connect(settings) as connection:
        load_leads(connection, marts)
        load_products(connection, marts, day)
        most_offers = challenger(connection, settings, day)
        plan = plan_day(connection, day, most_offers=most_offers, limits=policy.limits().on(day))
        connection.register("judged_rows", pa.table({"row": plan.chosen}))
        create_chances_view(connection, matches)
        create_known_view(connection, settings, "outcomes", known_by)
        create_results_view(connection)
        found = connection.sql(
            _universe(recompute_value_sql(pairs / "pairs.parquet"), policy.value())
        ).fetchnumpy()
    numbers = {
        name: np.asarray(found[name], np.float64) for name in ("propensity", "reward", "expected")
    }
    is_made, planned, judged = (
        np.asarray(found[name], np.bool_) for name in ("is_made", "is_planned", "is_judged")
    )
    log = Log(lead=np.asarray(found["lead_row"], np.int64), is_made=is_made, **numbers)
    return Logged(log, planned, judged)


def _universe(scored: str, value: Value) -> str:
    """Return SQL of every pair that either policy could make, ordered by key."""
    ended = f"""
        select
            {", ".join(f"results.{name}" for name in KEY.split(", "))},
            {", ".join(f"products.{name}" for name in PRODUCT_TERMS)},
            case when lent > 0 then lent / exchange_rate else leads.amount end as amount,
            leads.term_months,
            if(is_defaulted, 1.0, matches.pd) as pd,
            cast(is_approved as double) as p_approve,
            cast(is_funded as double) as p_fund,
            apr as suggested_apr,
            cast(null as double) as cost_per_lead
        from results
        join matches using (match_id)
        join leads on leads.channel_id = results.channel_id and leads.lead_id = results.lead_id
        join products
            on products.institution_id = results.institution_id
            and products.product_id = results.product_id
    """
    return f"""
        select
            lead_row,
            coalesce(propensity, 0.0) as propensity,
            coalesce(is_made, false) as is_made,
            coalesce(is_planned, false) as is_planned,
            judged.row is not null as is_judged,
            coalesce(ended.reward, 0.0) as reward,
            coalesce(scored.expected, judged.expected) as expected
        from (select {KEY}, expected_value as expected from ({scored})) as scored
        full join (
            select {KEY}, row, expected_value as expected from pairs join judged_rows using (row)
        ) as judged using ({KEY})
        join leads using (channel_id, lead_id)
        left join chances using ({KEY})
        left join (
            select {KEY}, expected_value as reward from ({value_sql(f"({ended})", value)})
        ) as ended using ({KEY})
        order by {KEY}
    """
