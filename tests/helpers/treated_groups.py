"""Worlds in which lenders decide on people of groups: without bias, or with one that is planted.

Women earn less and have lower scores than men, and every lender decides by score and income with a
line of its own, so that plain rates differ between groups in a world without bias too.
"""

from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.reports.sections.fairness.treatment import KEYS, create_long_view

DAY = date(2026, 11, 20)
DECIDED = DAY - timedelta(days=30)
LENDERS, PER_LENDER = 12, 400


def make_world(
    seed: int, *, bias: float = 0.0, surcharge: float = 0.0, lenders: int = LENDERS
) -> dict[str, pa.Table]:
    """Return the views of a window as tables, by name; lender-0 is the biased one.

    Args:
        seed: Of the world.
        bias: By how much its log-odds of an approval are lower for women.
        surcharge: By how much its annual rate is higher for women.
        lenders: Lenders of the world, each with `PER_LENDER` people.
    """
    random = np.random.default_rng(seed)
    people = lenders * PER_LENDER
    is_woman = random.random(people) < 0.45
    score = np.round(random.normal(650 - 25 * is_woman, 60))
    income = np.round(random.lognormal(9 - 0.2 * is_woman, 0.5), 2)
    age = random.integers(18, 75, people)
    lender = np.arange(people) % lenders
    line = random.normal(0, 0.7, lenders)[lender]
    log_odds = (score - 640) / 40 + np.log(income / 8000) + line - bias * is_woman * (lender == 0)
    chance = 1 / (1 + np.exp(-log_odds))
    is_approved = random.random(people) < chance
    is_funded = is_approved & (random.random(people) < 0.4)
    apr = np.round(0.18 - (score - 650) / 4000 + random.normal(0, 0.01, people), 4)
    apr = np.maximum(apr + surcharge * is_woman * (lender == 0), 0.03)
    keys = {
        "channel_id": pa.array(["search"] * people),
        "lead_id": pa.array([f"lead-{number:06}" for number in range(people)]),
    }
    dated = {"date": pa.array([DECIDED] * people)} | keys
    bands = np.select([age < 25, age < 40, age < 62], ["<25", "25 to 39", "40 to 61"], "62+")
    at = datetime(2026, 11, 1, tzinfo=UTC)
    product = {
        "institution_id": pa.array([f"lender-{one}" for one in lender]),
        "product_id": pa.array([f"loan-{one}" for one in lender]),
    }
    events = np.where(is_funded, "funded", np.where(is_approved, "approved", "declined"))
    return {
        "window_leads": pa.table(
            dated
            | {
                "segment": pa.array(["consumer"] * people),
                "currency": pa.array(["CNY"] * people),
                "country": pa.array(["CN"] * people),
                "bureau_score": score,
                "income_monthly": income,
                "debt_monthly": pa.nulls(people, pa.float64()),
                "revenue_annual": pa.nulls(people, pa.float64()),
                "amount": np.round(random.lognormal(10, 0.6, people), 2),
                "term_months": random.choice([6.0, 12.0, 24.0], people),
            }
        ),
        "lead_attributes": pa.table(
            dated
            | {
                "age": bands,
                "gender": np.where(is_woman, "female", "male"),
                "region": random.choice(["CN-BJ", "CN-SH", "CN-GD"], people),
            }
        ),
        "window_matches": pa.table(
            dated
            | product
            | {
                "rank": pa.array([1] * people),
                "suggested_apr": apr,
                "p_approve": np.round(chance, 6),
                "p_fund": pa.array([0.4] * people),
            }
        ),
        "window_outcomes": pa.table(
            keys
            | product
            | {
                "event": events,
                "event_at": pa.array([at] * people),
                "recorded_at": pa.array([at] * people),
                "apr": pa.array(np.where(is_approved, apr, np.nan), from_pandas=True),
            }
        ),
    }


def register_world(connection: duckdb.DuckDBPyConnection, world: dict[str, pa.Table]) -> None:
    """Give `connection` the views of a window, as `load_window` does."""
    for name, table in world.items():
        connection.register(name, table)
    create_long_view(connection, "person_attributes", "lead_attributes", KEYS, "group_name")
