"""The log of matched days against a challenger: every pair, its propensity, outcome and plans.

A pair's propensity is 1 if it was planned and could not be displaced, that of the draw if it was
randomised, and else 0; nothing is estimated. A match's reward is its realised value by the known
outcomes, by the formula of the value policy with 1 or 0 for every probability; a loan counts with
the risk that it was scored with until it is 90 days overdue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from expectations.policy_types import Value
from models.model_set import ModelSet
from pipelines.core.arrays import BoolArray
from pipelines.core.database import connect, run_query
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.evaluation.counted_outcomes import create_counted_outcomes_view
from pipelines.evaluation.match_outcomes import create_match_outcomes_view
from pipelines.evaluation.off_policy.estimate import PolicyLog
from pipelines.matches.build_problem import plan_day
from pipelines.matches.exploration_log import create_propensity_view
from pipelines.pairs.eligibility.engine import find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.prefilter import select_promising_pairs
from pipelines.pairs.scoring import ASSUMED_WIDTHS, score_eligible_pairs, score_leads
from pipelines.pairs.valuation import (
    PAIR_SCHEMA,
    create_pairs_of_scores,
    load_pairs,
    recompute_value_sql,
    value_sql,
)

SQL = Path(__file__).parent / "sql"

ChallengerPolicy = Callable[[duckdb.DuckDBPyConnection, Settings, date], int]
"""Creates table `pairs`, the pairs that it chooses from; returns its most offers a lead."""


@dataclass(frozen=True)
class LoggedDays:
    """Pairs of some days; columns of equal length."""

    log: PolicyLog
    planned: BoolArray
    """Pairs that the logged policy planned: the matches without exploration."""
    challenger: BoolArray
    """Pairs that the challenger plans."""


def build_value_challenger(value: Value) -> ChallengerPolicy:
    """Return the challenger that values the same scores by another value policy."""

    def load(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> int:
        load_pairs(connection, settings.day_folder(settings.pairs, day), day, value)
        return value.max_offers_per_lead

    return load


def build_model_challenger(select_models: Callable[[date], ModelSet]) -> ChallengerPolicy:
    """Return the challenger that scores each day by other models, from the features of the day."""

    def load(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> int:
        model_set = select_models(day)
        rules = load_products(connection, settings.day_folder(settings.marts, day), day)
        score_leads(connection, model_set)
        eligible = find_eligible_pairs(connection, rules, day)
        limits = policy.pairs().candidates
        cut = select_promising_pairs(connection, model_set, eligible, limits, day)
        batches = score_eligible_pairs(connection, model_set, cut.eligibility, ASSUMED_WIDTHS)
        connection.register("challenger_scores", pa.Table.from_batches(list(batches), PAIR_SCHEMA))
        create_pairs_of_scores(connection, "challenger_scores", day)
        connection.unregister("challenger_scores")
        return policy.value().max_offers_per_lead

    return load


def load_log(
    settings: Settings, days: Sequence[date], challenger: ChallengerPolicy, known_by: date
) -> LoggedDays:
    """Return the log of some days with the plans of a challenger.

    Args:
        settings: Settings of the home.
        days: Business dates that were matched.
        challenger: The policy that plans each day again.
        known_by: Outcomes that count at the end of this day are used.

    Raises:
        InputMissing: A day is not published.
    """
    loaded = [_load_day(settings, day, challenger, known_by) for day in days]
    return LoggedDays(
        PolicyLog.concatenate([each.log for each in loaded]),
        np.concatenate([each.planned for each in loaded]),
        np.concatenate([each.challenger for each in loaded]),
    )


def _load_day(
    settings: Settings, day: date, challenger: ChallengerPolicy, known_by: date
) -> LoggedDays:
    marts, pairs, matches = (
        settings.day_folder(root, day)
        for root in (settings.marts, settings.pairs, settings.matches)
    )
    for folder in (marts, pairs, matches):
        read_manifest(folder)
    with connect(settings) as connection:
        load_leads(connection, marts)
        connection.read_parquet(str(marts / "leads.parquet")).create_view("mart_leads")
        load_products(connection, marts, day)
        max_offers = challenger(connection, settings, day)
        plan = plan_day(
            connection,
            day,
            max_offers=max_offers,
            limits=policy.limits().on(day),
            guarantees=policy.guarantees(),
        )
        connection.register("challenger_rows", pa.table({"row": plan.chosen}))
        create_propensity_view(connection, matches)
        create_counted_outcomes_view(connection, settings, known_by)
        create_match_outcomes_view(connection)
        run_query(connection, SQL / "realised_terms.sql")
        for name, query in (
            ("realised_values", value_sql("realised_terms")),
            ("scored_values", recompute_value_sql(pairs / "pairs.parquet", day)),
        ):
            connection.execute(f"create or replace view {name} as {query}")
        columns = run_query(connection, SQL / "logged_pairs.sql").fetchnumpy()
    numbers = {
        name: np.asarray(columns[name], np.float64) for name in ("propensity", "reward", "expected")
    }
    is_made, planned, is_challenger = (
        np.asarray(columns[name], np.bool_) for name in ("is_made", "is_planned", "is_challenger")
    )
    log = PolicyLog(lead=np.asarray(columns["lead_row"], np.int64), is_made=is_made, **numbers)
    return LoggedDays(log, planned, is_challenger)
