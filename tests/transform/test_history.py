"""History features equal a direct evaluation of their rule, row by row and date by date."""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.core.home.shared_marts import read_mart
from tests.transform.conftest import DAY, Market

pytestmark = pytest.mark.usefixtures("built")

WEIGHT = policy.outcomes().smoothing_decisions
PAIR = ("channel_id", "lead_id", "institution_id", "product_id")


def known_before(market: Market, day: date) -> Iterable[tuple[datetime, dict[str, Any]]]:
    """Return the outcomes known before `day` starts, in the order in which they became known."""
    start = market.settings.day_start
    known = [(max(row["recorded_at"], start(on)), row) for on, row in market.rows_of("outcomes")]
    return sorted(
        ((at, row) for at, row in known if at < start(day)),
        key=lambda item: (item[1]["recorded_at"], item[0], item[1]["event"]),
    )


def figures(
    market: Market, day: date, belongs: Callable[[dict[str, Any]], bool]
) -> tuple[int, int, int]:
    """Return decided, approved and funded pairs, as known before `day` starts."""
    decisions, funded = {}, set()
    for _, row in known_before(market, day):
        pair = tuple(row[name] for name in PAIR)
        if belongs(row) and row["event"] != "received":
            decisions[pair] = row["event"] != "declined"
        if belongs(row) and row["event"] == "funded":
            funded.add(pair)
    return len(decisions), sum(decisions.values()), len(funded)


def same(row: dict[str, Any], names: tuple[str, ...]) -> Callable[[dict[str, Any]], bool]:
    """Return whether another row is about the same entity."""
    return lambda other: all(other[name] == row[name] for name in names)


def smoothed(successes: int, trials: int, toward: float) -> float:
    return (successes + WEIGHT * toward) / (trials + WEIGHT)


def platform_rates(market: Market, day: date) -> tuple[float, float]:
    decisions, approvals, fundings = figures(market, day, lambda _: True)
    priors = policy.priors()
    return (
        smoothed(approvals, decisions, fmean(priors.approve.values())),
        smoothed(fundings, approvals, fmean(priors.take_up.values())),
    )


def test_the_history_of_each_training_pair_was_known_before_its_date(market: Market):
    pairs = read_mart(market.settings.day_folder(market.settings.marts, DAY), "training_pairs")
    rows = pairs.to_pylist()[::17]
    assert len(rows) > 15
    for row in rows:
        day = row["business_date"]
        approval, take_up = platform_rates(market, day)
        expected = {}
        for entity, names in (
            ("channel", ("channel_id",)),
            ("institution", ("institution_id",)),
            ("product", ("institution_id", "product_id")),
        ):
            decisions, approvals, fundings = figures(market, day, same(row, names))
            rates = (
                (expected["institution_approval_rate"], expected["institution_funded_rate"])
                if entity == "product"
                else (approval, take_up)
            )
            expected |= {
                f"{entity}_decisions": decisions,
                f"{entity}_approval_rate": smoothed(approvals, decisions, rates[0]),
                f"{entity}_funded_rate": smoothed(fundings, approvals, rates[1]),
            }
        assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_the_cost_of_a_channel_is_its_known_spend_over_its_known_leads(market: Market):
    channels = pq.read_table(
        market.settings.day_folder(market.settings.marts, DAY) / "channels.parquet"
    )
    for row in channels.to_pylist():
        leads = sum(
            day < DAY and lead["channel_id"] == row["channel_id"]
            for day, lead in market.rows_of("leads")
        )
        spend = sum(
            spend["spend"]
            for day, spend in market.rows_of("channel_spend")
            if day < DAY and spend["channel_id"] == row["channel_id"]
        )
        assert row["leads_30d"] == leads > 0
        assert row["cost_per_lead"] == pytest.approx(spend / leads, abs=1e-6)
