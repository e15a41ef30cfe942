"""A day with exploration: logged, priced, explained, reported and within every limit."""

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
def explored(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a matched day that explores a third of its quotas; read only."""
    settings = crowded_day(tmp_path_factory.mktemp("explored"))
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


def test_randomised_matches_have_their_logged_propensity(explored):
    path = explored.day_folder(explored.matches, DAY) / "exploration_log.parquet"
    assert pq.read_schema(path) == SCHEMA
    log = {key(row): row for row in rows(explored, "matches", "exploration_log")}
    matches = {key(row): row for row in rows(explored, "matches")}
    assert sum(row["explored"] for row in matches.values()) >= 10
    for name, row in matches.items():
        entry = log.get(name, {"propensity": 1.0, "is_planned": True, "is_made": True})
        assert (row["propensity"], not row["explored"]) == (
            entry["propensity"],
            entry["is_planned"],
        )
        assert entry["is_made"]
    not_drawn = [row for name, row in log.items() if name not in matches]
    assert len(not_drawn) >= 10
    assert not any(row["is_made"] for row in not_drawn)
    assert 0 < max(row["propensity"] for row in not_drawn) < 1


def test_manifest_has_the_value_of_the_plan_and_the_exploration_cost(explored):
    manifest = read_manifest(explored.day_folder(explored.matches, DAY))
    log, matches = rows(explored, "matches", "exploration_log"), rows(explored, "matches")
    assert manifest["explored"] == sum(row["explored"] for row in matches)
    cost = sum(row["expected_value"] * (row["is_planned"] - row["is_made"]) for row in log)
    assert manifest["exploration_cost"] == pytest.approx(cost)
    assert manifest["exploration_cost"] > 0
    made = sum(row["expected_value"] for row in matches)
    assert manifest["value"] == pytest.approx(made + cost)
    assert 0 <= manifest["gap"] < 0.02
    assert "exploration_log.parquet" in manifest["files"]


def test_draw_violates_no_limit(explored):
    matches, products = rows(explored, "matches"), rows(explored, "marts", "products")
    scored = {key(row): row for row in rows(explored, "pairs")}
    leads = Counter(key(row)[:2] for row in matches)
    assert max(leads.values()) <= policy.value().max_offers_per_lead
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


def test_explored_matches_have_ranks_offers_and_reasons(explored):
    matches, offers = rows(explored, "matches"), rows(explored, "offers")
    assert [row["match_id"] for row in offers] == [row["match_id"] for row in matches]
    assert all(row["reasons"] for row in matches if row["explored"])
    benefits = {key(row): row["person_benefit"] for row in rows(explored, "pairs")}
    by_lead: dict[tuple[str, ...], list[Row]] = {}
    for row in matches:
        by_lead.setdefault(key(row)[:2], []).append(row)
    for of_lead in by_lead.values():
        assert [row["rank"] for row in of_lead] == list(range(1, len(of_lead) + 1))
        own = [benefits[key(row)] for row in of_lead]
        assert own == sorted(own, reverse=True)


def test_explain_states_the_draw_and_its_propensity(explored):
    log = rows(explored, "matches", "exploration_log")
    drawn = next(row for row in log if row["is_made"] and not row["is_planned"])
    displaced = next(row for row in log if row["is_planned"] and not row["is_made"])
    for entry, decision in ((drawn, "explored"), (displaced, "displaced")):
        explanation = explain(explored, DAY, lead=key(entry)[:2], product=key(entry)[2:])
        (row,) = explanation["products"]
        assert (row["decision"], row["propensity"]) == (decision, entry["propensity"])
    shown = format_explanation(explain(explored, DAY, lead=key(drawn)[:2]))
    assert f"{drawn['propensity']:.1%}" in shown
    of_product = explain(explored, DAY, product=key(drawn)[2:])
    matches = Counter(key(row)[2:] for row in rows(explored, "matches"))
    made = {row["decision"]: row["leads"] for row in of_product["decisions"]}
    assert made["chosen"] + made["explored"] == matches[key(drawn)[2:]]


def test_report_counts_explored_matches_of_new_products(explored):
    new = {
        (row["institution_id"], row["product_id"])
        for row in rows(explored, "marts", "products")
        if row["product_decisions"] < policy.exploration().new_product_decisions
    }
    expected = [row for row in rows(explored, "matches") if row["explored"] and key(row)[2:] in new]
    with connect(explored) as connection:
        assert count_explored_new_products(explored, DAY, connection) == len(expected) > 0


def test_share_of_zero_gives_exactly_the_plan(explored, tmp_path, monkeypatch):
    settings = crowded_day(tmp_path)
    set_exploration_share(0.0, monkeypatch)
    facts = match_day.match(settings, DAY)
    assert (facts["explored"], facts["exploration_cost"]) == (0, 0)
    assert facts["value"] == read_manifest(explored.day_folder(explored.matches, DAY))["value"]
    assert rows(settings, "matches", "exploration_log") == []
    plan = {key(row) for row in rows(settings, "matches")}
    randomised = {
        key(row) for row in rows(explored, "matches", "exploration_log") if row["is_planned"]
    }
    remaining = {key(row) for row in rows(explored, "matches") if not row["explored"]}
    assert plan == remaining | randomised
    assert {row["propensity"] for row in rows(settings, "matches")} == {1.0}


def test_same_day_draws_the_same_pairs(explored, tmp_path, monkeypatch):
    settings = crowded_day(tmp_path)
    set_exploration_share(1 / 3, monkeypatch)
    run_matching(Settings(home=settings.home, threads=1), DAY)
    contents = [
        read_manifest(home.day_folder(home.matches, DAY))["content_sha256"]
        for home in (explored, settings)
    ]
    assert contents[0] == contents[1]
