"""What a plan guarantees holds for its published matches, computed again from the scored pairs."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches import match_day
from tests.helpers.day import run_matching, write_day_before_matching
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY

Row = dict[str, Any]
TOLERANCE = 1e-6
"""A guarantee is kept in integers of about 1e-9 of its terms."""


def rows(settings: Settings, root: str, name: str | None = None) -> list[Row]:
    folder = settings.day_folder(settings.home / root, DAY)
    found: list[Row] = pq.read_table(folder / f"{name or root}.parquet").to_pylist()
    return found


def key(row: Row) -> tuple[str, str, str]:
    return row["channel_id"], row["lead_id"], row["product_id"]


def set_guarantees(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    changed = policy.guarantees().model_copy(update=changes)
    monkeypatch.setattr(policy, "guarantees", lambda: changed)


def by_product(settings: Settings) -> dict[str, tuple[list[Row], list[Row]]]:
    """Return product -> its scored pairs, and the matches among them."""
    made = {key(row) for row in rows(settings, "matches")}
    found: dict[str, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for pair in rows(settings, "pairs"):
        found[pair["product_id"]][0].append(pair)
        if key(pair) in made:
            found[pair["product_id"]][1].append(pair)
    return dict(found)


def mean(pairs: list[Row], column: str) -> float:
    return sum(pair[column] for pair in pairs) / len(pairs)


def cost_per_funded(pairs: list[Row]) -> float:
    return sum(pair["revenue"] for pair in pairs) / sum(
        pair["p_approve"] * pair["p_fund"] for pair in pairs
    )


def test_no_product_gets_worse_leads_than_a_random_draw_of_its_own(matched_home):
    models = {
        row["product_id"]: row["price_model"] for row in rows(matched_home, "marts", "products")
    }
    used = 0
    for product, (eligible, matched) in by_product(matched_home).items():
        if matched:
            used += 1
            assert mean(matched, "p_approve") >= mean(eligible, "p_approve") - TOLERANCE
            if models[product] != "cps":
                drawn = cost_per_funded(eligible)
                assert cost_per_funded(matched) <= drawn * (1 + TOLERANCE)
    assert used >= 5


def test_without_the_guarantee_some_product_is_a_dump(matched_copy, monkeypatch):
    set_guarantees(
        monkeypatch, fees_to_cost=0.0, approval_rate_as_drawn=False, cost_per_funded_as_drawn=False
    )
    serving_fees = policy.value().model_copy(update=FEES)
    monkeypatch.setattr(policy, "value", lambda: serving_fees)
    match_day.match(matched_copy, DAY)
    assert any(
        mean(matched, "p_approve") < mean(eligible, "p_approve")
        for eligible, matched in by_product(matched_copy).values()
        if matched
    )


FEES = {"person_weight": 0.0, "institution_weight": 0.0, "platform_weight": 1.0}
"""A plan that serves the fee alone."""


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A day of more leads, matched without agreed ceilings; read only."""
    home = tmp_path_factory.mktemp("free")
    settings = write_day_before_matching(home, DAY, leads=150, products=12)
    run_matching(settings, DAY)
    return settings


def load_catalogue(home: Path) -> list[Row]:
    """Return the products of that day, to be changed."""
    before = write_marts(home / "before", DAY, leads=150, products=12, pairs=1)
    return rows(before, "marts", "products")


def test_agreed_ceilings_of_cost_hold_over_the_expectation_of_the_day(free, tmp_path):
    catalogue = load_catalogue(tmp_path)
    paid = {
        product: matched for product, (_, matched) in by_product(free).items() if len(matched) > 3
    }
    targets = {product: 0.9 * cost_per_funded(matched) for product, matched in paid.items()}
    for row in catalogue:
        row["target_cost_per_funded"] = targets.get(row["product_id"])
    table = pa.Table.from_pylist(catalogue, SCHEMAS["products"])
    held = write_day_before_matching(
        tmp_path / "held", DAY, leads=150, products=12, products_table=table
    )
    run_matching(held, DAY)
    kept = 0
    for product, (_, matched) in by_product(held).items():
        if product in targets and matched:
            kept += 1
            assert cost_per_funded(matched) <= targets[product] * (1 + TOLERANCE)
    assert kept


def test_no_offer_is_less_likely_than_the_policy_of_its_jurisdiction(matched_copy, monkeypatch):
    regions = {row["lead_id"]: row["region"] for row in rows(matched_copy, "marts", "leads")}
    odds = policy.least_odds(DAY)["default"]
    strict = odds.model_copy(update={"jurisdiction": "CN", "offer": 0.1, "delivery": 0.35})
    monkeypatch.setattr(policy, "least_odds", lambda _: {"default": odds, "CN": strict})
    match_day.match(matched_copy, DAY)
    least = {
        lead: 0.35 if (region or "").startswith("CN-") else 0.05 for lead, region in regions.items()
    }
    matches = rows(matched_copy, "matches")
    assert matches
    assert all(row["p_approve"] >= least[row["lead_id"]] for row in matches)
    hopeless = [
        row for row in rows(matched_copy, "unmatched") if row["detail"] == "odds_below_minimum"
    ]
    assert hopeless
    assert {row["stage"] for row in hopeless} == {"low_value"}


def test_fees_cover_the_cost_of_the_leads_or_the_shortfall_is_stated(matched_copy, monkeypatch):
    stated = read_manifest(matched_copy.day_folder(matched_copy.matches, DAY))
    cost = stated["cost_of_leads"]
    set_guarantees(monkeypatch, fees_to_cost=0.0)
    free = match_day.match(matched_copy, DAY)
    assert "least_fees" not in free
    share = 1.05 * free["fees"] / cost
    set_guarantees(monkeypatch, fees_to_cost=share)
    held = match_day.match(matched_copy, DAY)
    assert held["least_fees"] == pytest.approx(share * cost, rel=1e-5)
    assert held["value"] <= free["value"] * (1 + 1e-9)
    assert held["fees_short"] == 0
    assert held["fees"] >= 0.98 * held["least_fees"]  # exploration may displace a little
    assert held["price_of_fees"] > 0
    set_guarantees(monkeypatch, fees_to_cost=1e4)
    hopeless = match_day.match(matched_copy, DAY)
    assert hopeless["fees_short"] > 0
    assert hopeless["fees_short"] == pytest.approx(
        hopeless["least_fees"] - hopeless["fees"], rel=0.05
    )
    assert hopeless["value"] > 0


FULFILMENT = {
    "institution_approvals_to_expected": 0.8,
    "institution_fundings_to_expected": 0.5,
}
FEES_TO_EXPECTED = {"cpl": 1.0, "cpa": 0.8, "cps": 0.5}


def test_fees_count_by_what_came_of_the_expected_fees_of_earlier_matches(tmp_path, monkeypatch):
    catalogue = [row | FULFILMENT for row in load_catalogue(tmp_path)]
    table = pa.Table.from_pylist(catalogue, SCHEMAS["products"])
    home = write_day_before_matching(tmp_path, DAY, leads=150, products=12, products_table=table)
    set_guarantees(monkeypatch, fees_to_cost=0.0)
    run_matching(home, DAY)
    free = read_manifest(home.day_folder(home.matches, DAY))
    assert 0.5 * free["fees"] < free["adjusted_fees"] < free["fees"]
    set_guarantees(monkeypatch, fees_to_cost=1.05 * free["adjusted_fees"] / free["cost_of_leads"])
    held = match_day.match(home, DAY)
    models = {row["product_id"]: row["price_model"] for row in catalogue}
    adjusted = sum(
        pair["revenue"] * FEES_TO_EXPECTED[models[product]]
        for product, (_, matched) in by_product(home).items()
        for pair in matched
    )
    assert held["adjusted_fees"] == pytest.approx(adjusted, rel=1e-5)
    assert held["fees_short"] == 0
    assert adjusted >= 0.98 * held["least_fees"]  # exploration may displace a little
    assert held["price_of_fees"] > 0


def test_agreed_ceilings_hold_for_what_comes_of_the_expectation(free, tmp_path):
    catalogue = load_catalogue(tmp_path)
    models = {row["product_id"]: row["price_model"] for row in catalogue}
    targets = {
        product: 1.8 * cost_per_funded(matched)
        for product, (_, matched) in by_product(free).items()
        if len(matched) > 3 and models[product] == "cpl"
    }
    assert targets
    for row in catalogue:
        row.update(FULFILMENT, target_cost_per_funded=targets.get(row["product_id"]))
    table = pa.Table.from_pylist(catalogue, SCHEMAS["products"])
    home = write_day_before_matching(tmp_path, DAY, leads=150, products=12, products_table=table)
    run_matching(home, DAY)
    held = {product: matched for product, (_, matched) in by_product(home).items() if matched}
    assert targets.keys() & held.keys()
    for product in targets.keys() & held.keys():
        # each lead costs the same, half of the expected loans come
        assert 2 * cost_per_funded(held[product]) <= targets[product] * (1 + TOLERANCE)


def test_fees_are_not_bought_above_their_highest_price(matched_copy, monkeypatch):
    set_guarantees(monkeypatch, fees_to_cost=0.0)
    free = match_day.match(matched_copy, DAY)
    set_guarantees(monkeypatch, fees_to_cost=1e4, highest_price_of_fees=1e-6)
    held = match_day.match(matched_copy, DAY)
    assert held["value"] == pytest.approx(free["value"], rel=1e-6)


def test_a_month_is_paced_over_the_days_that_it_has_left(free, tmp_path):
    catalogue = load_catalogue(tmp_path)
    used = {product: len(matched) for product, (_, matched) in by_product(free).items()}
    most = max(used, key=lambda product: used[product])
    spent = {row["product_id"]: row for row in rows(free, "marts", "products")}
    days_left = spent[most]["days_to_month_end"] + 1
    for row in catalogue:
        if row["product_id"] == most:  # 21 of 50 leads are left, for the 11 days from the 20th on
            row |= {"monthly_quota": 50, "month_leads": 29}
    table = pa.Table.from_pylist(catalogue, SCHEMAS["products"])
    paced = write_day_before_matching(
        tmp_path / "paced", DAY, leads=150, products=12, products_table=table
    )
    run_matching(paced, DAY)
    assert (used[most] > 2, days_left) == (True, 11)
    assert len(by_product(paced)[most][1]) == 2


@pytest.mark.parametrize("spent", [0.0, 1e9])
def test_a_monthly_budget_is_paced_and_a_spent_one_takes_no_lead(tmp_path, spent):
    catalogue = load_catalogue(tmp_path)
    for row in catalogue:
        row |= {"monthly_budget": 1_100.0, "month_spend": spent}
    table = pa.Table.from_pylist(catalogue, SCHEMAS["products"])
    paced = write_day_before_matching(tmp_path, DAY, leads=150, products=12, products_table=table)
    run_matching(paced, DAY)
    expected = [
        sum(pair["expected_spend"] for pair in matched) for _, matched in by_product(paced).values()
    ]
    assert max(expected) <= 100.0 + TOLERANCE
    assert (sum(expected) > 0) == (spent == 0)
