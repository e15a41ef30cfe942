"""Choose the day's matches and tell every lead why, or why not: matches, offers, unmatched."""

from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from expectations import policy
from models import model_set as models
from models.features.encoder import numbers
from models.validation.calibration_monitor import Told
from pipelines.core.database import connect, create_known_view
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import hash_inputs, publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.matches.build_problem import DayPlan, plan_day
from pipelines.matches.exploration_log import TRIALS, Made, log, try_out
from pipelines.matches.ids import MATCH_ID
from pipelines.matches.lead_reconciliation import count_leads
from pipelines.matches.offers import offers_sql
from pipelines.matches.reason_tables import of_matches, of_unmatched, with_match_ids
from pipelines.matches.rule_costs import rule_prices
from pipelines.matches.shadow_price_text import PRICES
from pipelines.matches.shadow_prices import short_floors
from pipelines.matches.unmatched import unmatched_sql
from pipelines.pairs.calibration_ledger import read_disclosed_odds
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.rules import CompiledRules
from pipelines.pairs.prefilter_loss import measure_day_loss
from pipelines.pairs.scoring import load_pair_features, score_leads
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
"""Columns of `matches.parquet`. Money in the base currency; `rank` 1 is the lead's best."""


def match(settings: Settings, day: date) -> dict[str, Any]:
    """Publish the day's `matches/`, `offers/` and `unmatched/`, once every lead is accounted for.

    Returns:
        The lead counts, matches, institutions; value, bound and gap of the plan before trials,
            how many were explored and what that costs; versions of policy and models. They stand
            in the manifest of the matches, too.

    Raises:
        InputMissing: The day's lake, marts or pairs are not published, or the pairs were scored
            from other marts, models or policies than those of now.
        IntegrityError: A lead is lost or counted twice, or the plan is not proven; nothing is published.
    """
    read_from = hash_inputs(
        settings.day_folder(settings.lake / "leads", day),
        settings.day_folder(settings.marts, day),
        settings.day_folder(settings.pairs, day),
        home=settings.home,
    )
    scored_by = read_manifest(settings.day_folder(settings.pairs, day))
    model_set = models.load(settings, day)
    _must_be_current(scored_by, read_from, model_set)
    with connect(settings) as connection:
        rules = _load(connection, settings, day)
        most_offers = policy.value().most_offers_per_lead
        plan = plan_day(connection, day, most_offers=most_offers, limits=policy.limits().on(day))
        made = try_out(connection, plan, day, most_offers=most_offers, policy=policy.exploration())
        _note(connection, plan, made, day)
        _add_odds(connection, read_disclosed_odds(settings.day_folder(settings.pairs, day)))
        told = _add_reasons(connection, model_set)
        prefilter_loss = measure_day_loss(
            connection, settings.day_folder(settings.pairs, day), plan.price_of_quota.tolist()
        )
        of_rules = rule_prices(connection, settings.day_folder(settings.pairs, day))
        trials = log(connection, made.trials)
        matches = _matches(connection, scored_by)
        offers = connection.sql(
            offers_sql("explained", "names", "told", "odds_shown")
        ).to_arrow_table()
        unmatched = connection.sql(
            unmatched_sql("mart_leads", "funnel", "chosen", "short")
        ).to_arrow_table()
        connection.register("without_match", unmatched)
        told_unmatched = of_unmatched(connection, model_set, rules, day)
    counts = count_leads(settings, day, matches=matches, unmatched=unmatched)
    facts = counts.as_dict() | {
        "matches": len(matches),
        "institutions": len(matches["institution_id"].unique()),
        "value": plan.value,
        "bound": plan.bound,
        "gap": plan.gap,
        "explored": int(made.explored.sum()),
        "price_of_learning": made.price_of_learning,
        "policy_version": policy.version(),
        "models": scored_by["models"],
    }
    facts |= prefilter_loss | short_floors(plan.told, plan.least_shortfall)
    with publishing(
        settings.day_folder(settings.reasons, day), facts | {"inputs": read_from}
    ) as folder:
        write_parquet(told, folder / "matches.parquet")
        write_parquet(told_unmatched, folder / "unmatched.parquet")
    for root, table in (
        (settings.unmatched, unmatched),
        (settings.offers, offers),
        (settings.matches, matches),
    ):
        with publishing(
            settings.day_folder(root, day), facts | {"inputs": read_from, "rows": len(table)}
        ) as folder:
            write_parquet(table, folder / f"{root.name}.parquet")
            if root == settings.matches:
                write_parquet(of_rules, folder / "rule_prices.parquet")
                write_parquet(plan.told, folder / PRICES)
                write_parquet(trials, folder / TRIALS)
    return facts


def _must_be_current(
    scored_by: dict[str, Any], read_from: dict[str, str], model_set: models.ModelSet
) -> None:
    """Raise `InputMissing` where the pairs speak of other leads, models or policies than now.

    Only the policies of value and limits may differ: the matching applies them anew.
    """
    now = {
        "models": model_set.version,
        "policy_version_of_scoring": policy.version(*policy.OF_MATCHING),
    }
    changed = [name for name, version in now.items() if scored_by.get(name) != version]
    changed += [name for name, made in scored_by["inputs"].items() if read_from[name] != made]
    if changed:
        raise InputMissing(
            f"the day's pairs were scored before this changed: {', '.join(changed)}. Nothing was "
            "matched, and earlier matches stand. Run the step `score` for the date, then `match`."
        )


def _load(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> CompiledRules:
    """Create the tables that plan and reasons are made from; return what the rules ask."""
    marts, pairs = (settings.day_folder(root, day) for root in (settings.marts, settings.pairs))
    load_leads(connection, marts)
    rules = load_products(connection, marts, day)
    load_pairs(connection, pairs)
    connection.read_parquet(str(marts / "leads.parquet")).create_view("mart_leads")
    create_known_view(connection, settings, "institutions", day)
    connection.execute(
        """
        create view names as
        select
            institution_id, product_id, products.name as product_name,
            coalesce(called.name, institution_id) as institution_name
        from products
        left join (
            select institution_id, arg_max(name, (landed_on, known_at, name)) as name
            from institutions
            group by institution_id
        ) as called using (institution_id)
        """
    )
    return rules


def _note(connection: duckdb.DuckDBPyConnection, plan: DayPlan, made: Made, day: date) -> None:
    """Create `planned`, `chosen` (the matches, with rank, prices and chance) and `short`.

    A match id comes from the date and the keys alone, so it stands when the day is run again. The
    rank goes by value, a trial's too: 1 is the lead's best, however it came to be shown.
    """
    connection.register("planned_rows", pa.table({"row": plan.chosen}))
    told_of_made = {"explored": made.explored, "propensity": made.propensity}
    connection.register("chosen_rows", pa.table({"row": made.row} | told_of_made))
    connection.register("of_budget", pa.table({"row": plan.short_of_budget}))
    connection.register("of_share", pa.table({"row": plan.short_of_share}))
    prices = {"price_of_quota": plan.price_of_quota, "price_of_budget": plan.price_of_budget}
    rows = np.arange(len(plan.price_of_quota))
    connection.register("quota_prices", pa.table({"product_row": rows, **prices}))
    connection.execute(
        f"""
        create or replace table chosen as
        select
            pairs.*, lead_row, product_row, price_of_quota, price_of_budget, explored, propensity,
            {MATCH_ID} as match_id,
            row_number() over (
                partition by lead_row order by expected_value desc, product_row
            ) as rank
        from pairs
        join chosen_rows using (row)
        join leads using (channel_id, lead_id)
        join products using (institution_id, product_id)
        join quota_prices using (product_row)
        """,
        {"day": day.isoformat()},
    )
    connection.execute(
        """
        create or replace table planned as
        select pairs.*, price_of_quota, price_of_budget
        from pairs
        join planned_rows using (row)
        join products using (institution_id, product_id)
        join quota_prices using (product_row)
        """
    )
    connection.execute(
        """
        create or replace table short as
        select channel_id, lead_id, min(detail) as detail
        from pairs
        join (
            select row, 'budget' as detail from of_budget
            union all
            select row, 'share_full' as detail from of_share
        ) using (row)
        group by all
        """
    )


def _add_odds(connection: duckdb.DuckDBPyConnection, told: Told) -> None:
    """Create `odds_shown`: by match id, how many in a hundred were approved at least; or null."""
    chosen = connection.sql(
        "select match_id, segment, p_approve from chosen order by match_id"
    ).to_arrow_table()
    shown = told.odds(chosen["segment"], numbers(chosen, "p_approve"))
    table = pa.table({"match_id": chosen["match_id"], "odds_shown": shown})
    connection.register("told_odds", table)
    connection.execute("create or replace table odds_shown as from told_odds")


def _add_reasons(connection: duckdb.DuckDBPyConnection, model_set: models.ModelSet) -> pa.Table:
    """Create `explained`: table `chosen` with the codes of what spoke most for it, and return all
    that spoke for and against each match, in words."""
    score_leads(connection, model_set)  # what is assumed of an approval reads the lead's risk
    read = load_pair_features(connection, "select lead_row, product_row from chosen")
    told = of_matches(model_set, read)
    connection.register("told", told)
    connection.execute(
        """
        create or replace table explained as
        from chosen
        join (
            select
                channel_id, lead_id, institution_id, product_id,
                list(code order by strength_rank) as reasons
            from told
            where effect = 'raises'
            group by all
        ) using (channel_id, lead_id, institution_id, product_id)
        """
    )
    return with_match_ids(connection, told)


def _matches(connection: duckdb.DuckDBPyConnection, scored_by: dict[str, Any]) -> pa.Table:
    bounded = policy.risk_tiers()[:-1]
    tiers = " ".join(f"when pd < {tier.pd_below} then '{tier.tier}'" for tier in bounded)
    matches = connection.sql(
        f"""
        select
            match_id, channel_id, lead_id, institution_id, product_id, segment, rank, pd,
            case {tiers} else '{policy.risk_tiers()[-1].tier}' end as risk_tier,
            suggested_apr, p_approve, p_fund, expected_value, expected_cost, price_of_quota,
            reasons, explored, propensity,
            $policy_version as policy_version, $models as models
        from explained
        order by channel_id, lead_id, rank
        """,
        params={"policy_version": policy.version(), "models": scored_by["models"]},
    )
    return matches.to_arrow_table().cast(SCHEMA)
