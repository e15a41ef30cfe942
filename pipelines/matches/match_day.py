"""Choose the day's matches and publish them, with offers, unmatched leads and reasons."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from models import model_set as models
from models.features.columns import to_floats
from models.validation.calibration_monitor import DisclosedOdds
from pipelines.core.database import (
    connect,
    create_known_view,
    find_spill_folder,
    query_table,
    run_query,
)
from pipelines.core.errors import InputMissing, IntegrityError
from pipelines.core.publishing import hash_inputs, publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.statistics import round_significant
from pipelines.matches import exploration_log
from pipelines.matches.build_problem import DayPlan, plan_day
from pipelines.matches.exploration_log import ExploredPlan, build_exploration_log, explore_plan
from pipelines.matches.lead_reconciliation import reconcile_leads
from pipelines.matches.match_id import SQL, create_match_id_macro
from pipelines.matches.offer_costs import write_offers
from pipelines.matches.reason_tables import write_adverse_action_reasons, write_match_reasons
from pipelines.matches.shadow_price_text import PRICES, RULE_COSTS
from pipelines.matches.shadow_prices import (
    compute_rule_costs,
    create_product_prices,
    describe_missed_floors,
    measure_prefilter_loss,
)
from pipelines.pairs.calibration_ledger import read_disclosed_odds
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.rules import CompiledRules
from pipelines.pairs.scoring import score_leads
from pipelines.pairs.valuation import load_pairs

SCHEMA = pa.schema(
    {
        "match_id": pa.string(),
        "channel_id": pa.string(),
        "lead_id": pa.string(),
        "institution_id": pa.string(),
        "product_id": pa.string(),
        "segment": pa.string(),
        "rank": pa.int64(),
        "pd": pa.float64(),
        "risk_tier": pa.string(),
        "suggested_apr": pa.float64(),
        "p_approve": pa.float64(),
        "p_fund": pa.float64(),
        "expected_value": pa.float64(),
        "expected_cost": pa.float64(),
        "price_of_quota": pa.float64(),
        "reasons": pa.list_(pa.string()),
        "explored": pa.bool_(),
        "propensity": pa.float64(),
        "policy_version": pa.string(),
        "models": pa.string(),
    }
)
"""Columns of `matches.parquet`. Money in the base currency; `rank` 1 is the best for the
person, by the person's own expected benefit."""


def match(settings: Settings, day: date) -> dict[str, Any]:
    """Publish the day's `matches/`, `offers/`, `unmatched/` and `reasons/`, reconciled.

    Returns:
        The manifest of the matches: lead counts, matches, institutions; value, bound and gap of the
        plan before exploration; number of explored matches and exploration cost; versions of policy
        and models.

    Raises:
        InputMissing: The day's lake, marts or pairs are not published, or the pairs were scored
            from other marts, models or policies than the current ones.
        IntegrityError: A lead is lost or counted twice, a phone has more offers than one person,
            or the plan has no certificate; nothing is published.
    """
    lake, marts, pairs = (
        settings.day_folder(root, day)
        for root in (settings.lake / "leads", settings.marts, settings.pairs)
    )
    input_hashes = hash_inputs(lake, marts, pairs, home=settings.home)
    scoring = read_manifest(pairs)
    model_set = models.load(settings, day)
    _require_current(scoring, input_hashes, model_set)
    with connect(settings) as connection:
        rules = _load_tables(connection, settings, day)
        max_offers = policy.value().max_offers_per_lead
        plan = plan_day(
            connection,
            day,
            max_offers=max_offers,
            limits=policy.limits().on(day),
            guarantees=policy.guarantees(),
        )
        explored = explore_plan(
            connection, plan, day, max_offers=max_offers, policy=policy.exploration()
        )
        _create_plan_tables(connection, plan, explored, day)
        _require_offers_within_limits(connection, day, max_offers)
        _create_odds_shown(connection, read_disclosed_odds(pairs))
        prefilter_loss = measure_prefilter_loss(connection, pairs, plan.bound)
        beside_matches = {
            RULE_COSTS: compute_rule_costs(connection, pairs, day),
            PRICES: plan.price_table,
            exploration_log.FILE: build_exploration_log(connection, plan, explored.draw),
        }
        plan_facts = {
            "value": plan.value,
            "bound": plan.bound,
            "gap": plan.gap,
            "explored": int(explored.explored.sum()),
            "exploration_cost": explored.exploration_cost,
        }
        figures = _measure_matches(connection, plan) | prefilter_loss
        figures |= describe_missed_floors(plan.price_table, plan.min_shortfall)
        del plan, explored  # the arrays of a large day; reasons need their memory
        scratch = find_spill_folder(connection)
        files = {
            name: scratch / f"published-{name}.parquet"
            for name in ("reasons", "offers", "adverse_actions")
        }
        score_leads(connection, model_set)  # the prior of an approval reads the lead's risk
        write_match_reasons(connection, model_set, files["reasons"])
        matches = _build_matches(connection, scoring["models"])
        offers = write_offers(connection, files["offers"])
        unmatched = query_table(connection, SQL / "unmatched.sql")
        connection.register("unmatched", unmatched)
        write_adverse_action_reasons(connection, model_set, rules, day, files["adverse_actions"])
        counts = reconcile_leads(settings, day, matches=matches, unmatched=unmatched)
        manifest = counts.as_dict() | {
            "matches": len(matches),
            "institutions": len(matches["institution_id"].unique()),
            **plan_facts,
            "policy_version": policy.version(),
            "models": scoring["models"],
        }
        manifest |= figures
        facts = manifest | {"inputs": input_hashes, "policies": policy.full_version()}
        reasons = {
            "matches.parquet": files["reasons"],
            "unmatched.parquet": files["adverse_actions"],
        }
        _publish(settings.day_folder(settings.reasons, day), reasons, facts)
        for root, rows, tables in (
            (settings.unmatched, len(unmatched), {"unmatched.parquet": unmatched}),
            (settings.offers, offers, {"offers.parquet": files["offers"]}),
            (settings.matches, len(matches), {"matches.parquet": matches} | beside_matches),
        ):
            _publish(settings.day_folder(root, day), tables, facts | {"rows": rows})
    return manifest


def _publish(folder: Path, tables: Mapping[str, pa.Table | Path], manifest: dict[str, Any]) -> None:
    """Publish tables, and files of the same home, which are moved."""
    with publishing(folder, manifest) as fresh:
        for name, table in tables.items():
            if isinstance(table, Path):
                table.replace(fresh / name)
            else:
                write_parquet(table, fresh / name)


def _require_current(
    scoring: dict[str, Any], input_hashes: dict[str, str], model_set: models.ModelSet
) -> None:
    """Raise `InputMissing` if the pairs were scored from other leads, models or policies.

    Only the policies of value and limits may differ: the matching applies the current ones.
    """
    current = {
        "models": model_set.version,
        "policy_version_of_scoring": policy.version(*policy.MATCHING_POLICIES),
    }
    changed = [name for name, version in current.items() if scoring.get(name) != version]
    changed += [name for name, hash_ in scoring["inputs"].items() if input_hashes[name] != hash_]
    if changed:
        raise InputMissing(
            f"the day's pairs were scored before this changed: {', '.join(changed)}. Nothing was "
            "matched, and earlier matches are unchanged. Run the step `score` for the date, then "
            "`match`."
        )


def _load_tables(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> CompiledRules:
    """Create the input tables of plan and reasons; return the rules of the products."""
    marts, pairs = (settings.day_folder(root, day) for root in (settings.marts, settings.pairs))
    load_leads(connection, marts)
    rules = load_products(connection, marts, day)
    load_pairs(connection, pairs, day)
    connection.read_parquet(str(marts / "leads.parquet")).create_view("mart_leads")
    create_known_view(connection, settings, "institutions", day)
    run_query(connection, SQL / "product_names.sql")
    create_match_id_macro(connection, settings)
    return rules


def _create_plan_tables(
    connection: duckdb.DuckDBPyConnection, plan: DayPlan, explored: ExploredPlan, day: date
) -> None:
    """Create `planned`, `chosen` (the matches, with rank, prices, propensity) and `exhausted`."""
    rows = np.arange(len(plan.quota))
    for name, columns in (
        ("planned_rows", {"row": plan.chosen}),
        (
            "match_rows",
            {
                "row": explored.row,
                "explored": explored.explored,
                "propensity": explored.propensity,
            },
        ),
        ("budget_exhausted_rows", {"row": plan.budget_exhausted}),
        ("share_exhausted_rows", {"row": plan.share_exhausted}),
        ("guarantee_exhausted_rows", {"row": plan.guarantee_exhausted}),
        ("product_quotas", {"product_row": rows, "quota": plan.quota}),
    ):
        connection.register(name, pa.table(columns))
    create_product_prices(connection, plan.price_table)
    run_query(connection, SQL / "chosen.sql", {"day": day.isoformat()})
    run_query(connection, SQL / "planned.sql")
    run_query(connection, SQL / "exhausted.sql")


def _require_offers_within_limits(
    connection: duckdb.DuckDBPyConnection, day: date, max_offers: int
) -> None:
    """Raise `IntegrityError` if the leads of a phone have too many matches, or one twice."""
    query = run_query(connection, SQL / "offers_over_limit.sql", {"max_offers": max_offers})
    if leads := len(query.fetchall()):
        raise IntegrityError(
            f"{day}: the plan gives {leads:,} leads, with others of the same phone, more than "
            f"{max_offers} offers or two of one institution. Matches are not published; earlier "
            "ones are unchanged. This is an error of the plan: report it with the day's marts."
        )


def _create_odds_shown(connection: duckdb.DuckDBPyConnection, odds: DisclosedOdds) -> None:
    """Create `odds_shown`: lower bound on approvals per hundred by match id; null if not shown."""
    chosen = connection.sql(
        "select match_id, segment, p_approve from chosen order by match_id"
    ).to_arrow_table()
    shown = odds.look_up(chosen["segment"], to_floats(chosen, "p_approve"))
    table = pa.table({"match_id": chosen["match_id"], "odds_shown": shown})
    connection.register("odds_by_match", table)
    connection.execute("create or replace table odds_shown as from odds_by_match")


def _measure_matches(connection: duckdb.DuckDBPyConnection, plan: DayPlan) -> dict[str, Any]:
    """Return the surplus of the matches by side, steering, and the floor on fees."""
    (row,) = query_table(connection, SQL / "match_figures.sql").to_pylist()
    figures: dict[str, Any] = row | {"cost_of_leads": plan.cost_of_leads}
    figures |= {"surplus": row["person_benefit"] + row["institution_margin"]}
    if plan.fee_floor is not None:
        (least,), (planned,) = plan.fee_floor.family.stated, plan.fee_floor.used
        (price,) = plan.fee_floor.price
        figures |= {"least_fees": float(least), "fees_short": max(0.0, float(least - planned))}
        figures["price_of_fees"] = float(price)
    return {
        name: value if isinstance(value, int) else round_significant(value)
        for name, value in figures.items()
    }


def _build_matches(connection: duckdb.DuckDBPyConnection, model_version: str) -> pa.Table:
    *bounded, last = policy.risk_tiers()
    limits = [float(tier.pd_below or np.inf) for tier in bounded] + [np.inf]
    tiers = {"pd_below": limits, "tier": [tier.tier for tier in (*bounded, last)]}
    connection.register("risk_tiers", pa.table(tiers))
    matches = query_table(
        connection,
        SQL / "matches.sql",
        {"policy_version": policy.version(), "models": model_version},
    )
    return matches.cast(SCHEMA)
