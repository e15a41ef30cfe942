"""A day with trials: what the lot decided is told, priced, logged and within every limit."""

from collections import Counter
from typing import Any

import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.explain import explain, format_explanation
from pipelines.matches import match_day
from pipelines.matches.exploration_log import SCHEMA
from pipelines.reports.sections.matching import count_explored_new_products
from tests.helpers.crowded_market import crowded_day, set_exploration_share
from tests.helpers.day import run_matching
from tests.helpers.matched_day import DAY

Row = dict[str, Any]
KEY = ("channel_id", "lead_id", "institution_id", "product_id")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a matched day on which a third of the places are tried out; only to be read."""
    settings = crowded_day(tmp_path_factory.mktemp("tried"))
    with pytest.MonkeyPatch.context() as patch:
        set_exploration_share(1 / 3, patch)
        match_day.match(settings, DAY)
    return settings


def rows(settings: Settings, root: str, name: str = "") -> list[Row]:
    folder = settings.day_folder(settings.home / root, DAY)
    found: list[Row] = pq.read_table(folder / f"{name or root}.parquet").to_pylist()
    return found


def key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def test_every_match_that_was_left_to_the_lot_bears_its_logged_chance(tried):
    path = tried.day_folder(tried.matches, DAY) / "trials.parquet"
    assert pq.read_schema(path) == SCHEMA
    lots = {key(row): row for row in rows(tried, "matches", "trials")}
    matches = {key(row): row for row in rows(tried, "matches")}
    assert sum(row["explored"] for row in matches.values()) >= 10
    for name, row in matches.items():
        lot = lots.get(name, {"propensity": 1.0, "is_planned": True, "is_made": True})
        assert (row["propensity"], not row["explored"]) == (lot["propensity"], lot["is_planned"])
        assert lot["is_made"]
    stood_by = [row for name, row in lots.items() if name not in matches]
    assert len(stood_by) >= 10
    assert not any(row["is_made"] for row in stood_by)
    assert 0 < max(row["propensity"] for row in stood_by) < 1


def test_the_manifest_tells_what_the_plan_was_worth_and_what_learning_costs(tried):
    manifest = read_manifest(tried.day_folder(tried.matches, DAY))
    lots, matches = rows(tried, "matches", "trials"), rows(tried, "matches")
    assert manifest["explored"] == sum(row["explored"] for row in matches)
    cost = sum(row["expected_value"] * (row["is_planned"] - row["is_made"]) for row in lots)
    assert manifest["price_of_learning"] == pytest.approx(cost)
    assert manifest["price_of_learning"] > 0
    made = sum(row["expected_value"] for row in matches)
    assert manifest["value"] == pytest.approx(made + cost)
    assert 0 <= manifest["gap"] < 0.02
    assert "trials.parquet" in manifest["files"]


def test_no_limit_is_broken_by_what_was_drawn(tried):
    matches, products = rows(tried, "matches"), rows(tried, "marts", "products")
    scored = {key(row): row for row in rows(tried, "pairs")}
    leads = Counter(key(row)[:2] for row in matches)
    assert max(leads.values()) <= policy.value().most_offers_per_lead
    assert set(Counter(key(row)[:3] for row in matches).values()) == {1}
    bound = 0
    for product in products:
        name = (product["institution_id"], product["product_id"])
        of_product = [row for row in matches if key(row)[2:] == name]
        assert len(of_product) <= product["daily_quota"]
        spent = sum(scored[key(row)]["expected_spend"] for row in of_product)
        assert spent <= (product["daily_budget"] or float("inf")) + 1e-6
        bound += len(of_product) == product["daily_quota"]
    assert bound >= 3


def test_trials_have_ranks_offers_and_reasons_like_every_other_match(tried):
    matches, offers = rows(tried, "matches"), rows(tried, "offers")
    assert [row["match_id"] for row in offers] == [row["match_id"] for row in matches]
    assert all(row["reasons"] for row in matches if row["explored"])
    by_lead: dict[tuple[str, ...], list[Row]] = {}
    for row in matches:
        by_lead.setdefault(key(row)[:2], []).append(row)
    for of_lead in by_lead.values():
        assert [row["rank"] for row in of_lead] == list(range(1, len(of_lead) + 1))
        values = [row["expected_value"] for row in of_lead]
        assert values == sorted(values, reverse=True)


def test_explain_says_what_the_lot_did_and_with_which_chance(tried):
    lots = rows(tried, "matches", "trials")
    drawn = next(row for row in lots if row["is_made"] and not row["is_planned"])
    gave_way = next(row for row in lots if row["is_planned"] and not row["is_made"])
    for lot, decided, words in (
        (drawn, "explored", "drawn at random"),
        (gave_way, "displaced", "displaced by a pair"),
    ):
        found = explain(tried, DAY, lead=key(lot)[:2], product=key(lot)[2:])
        (row,) = found["products"]
        assert (row["decision"], row["propensity"]) == (decided, lot["propensity"])
        assert words in row["why"]
    told = format_explanation(explain(tried, DAY, lead=key(drawn)[:2]))
    assert f"(propensity {drawn['propensity']:.1%})" in told
    of_product = explain(tried, DAY, product=key(drawn)[2:])
    matches = Counter(key(row)[2:] for row in rows(tried, "matches"))
    made = {row["decision"]: row["leads"] for row in of_product["decisions"]}
    assert made["chosen"] + made["explored"] == matches[key(drawn)[2:]]


def test_the_report_tells_trials_at_products_that_are_little_known(tried):
    new = {
        (row["institution_id"], row["product_id"])
        for row in rows(tried, "marts", "products")
        if row["product_decisions"] < policy.exploration().new_product_decisions
    }
    expected = [row for row in rows(tried, "matches") if row["explored"] and key(row)[2:] in new]
    with connect(tried) as connection:
        assert count_explored_new_products(tried, DAY, connection) == len(expected) > 0


def test_a_share_of_nothing_gives_exactly_the_plan(tried, tmp_path, monkeypatch):
    settings = crowded_day(tmp_path)
    set_exploration_share(0.0, monkeypatch)
    facts = match_day.match(settings, DAY)
    assert (facts["explored"], facts["price_of_learning"]) == (0, 0)
    assert facts["value"] == read_manifest(tried.day_folder(tried.matches, DAY))["value"]
    assert rows(settings, "matches", "trials") == []
    plan = {key(row) for row in rows(settings, "matches")}
    gone = {key(row) for row in rows(tried, "matches", "trials") if row["is_planned"]}
    kept = {key(row) for row in rows(tried, "matches") if not row["explored"]}
    assert plan == kept | gone
    assert {row["propensity"] for row in rows(settings, "matches")} == {1.0}


def test_the_same_day_draws_the_same_trials(tried, tmp_path, monkeypatch):
    settings = crowded_day(tmp_path)
    set_exploration_share(1 / 3, monkeypatch)
    run_matching(Settings(home=settings.home, threads=1), DAY)
    contents = [
        read_manifest(home.day_folder(home.matches, DAY))["content_sha256"]
        for home in (tried, settings)
    ]
    assert contents[0] == contents[1]
