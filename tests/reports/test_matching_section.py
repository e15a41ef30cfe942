"""The page shows shadow prices, rule costs and infeasible floors."""

import json
from datetime import date

import pytest

from expectations import policy
from expectations.policy_types import Limits
from pipelines.core.settings import Settings
from pipelines.matches.shadow_price_text import load_product_prices
from pipelines.reports.publish_report import report
from tests.helpers.day import run_matching
from tests.helpers.html import section_text
from tests.helpers.published_day import DAY as EMPTY_DAY
from tests.matches.test_rule_costs import DAY, PRODUCT, RULES, day_with
from tests.reports.conftest import publish_report

FLOOR = {"from": date(2026, 11, 1), "source": "test", "leads_a_day": 400}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A matched day on which one floor is infeasible; read only."""
    floors = [FLOOR | {"institution_id": "bank-002"}]
    limits = Limits.model_validate({"decided_on": DAY, "source": "test", "floors": floors})
    settings = day_with(tmp_path_factory.mktemp("prices"), 6, *RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "limits", lambda: limits)
        run_matching(settings, DAY)
    report(settings, DAY)
    return settings


@pytest.fixture(scope="module")
def prices(home: Settings) -> list:
    return load_product_prices(home.day_folder(home.matches, DAY), home.day_folder(home.marts, DAY))


def section(settings: Settings) -> str:
    page = settings.day_folder(settings.reports, DAY) / "index.html"
    return section_text(page.read_text("utf-8"), "prices")


def test_every_open_product_has_its_quota_matches_price_and_max_costly_rules(home, prices):
    text = section(home)
    assert len(prices) == 11
    for row in prices:
        line = f"{row.institution_id} {row.product_id} {row.quota} {row.matches} "
        assert f"{line}{row.price_of_quota:,.2f}" in text
        for cost in row.rules[:3]:
            assert f"{cost.rule} {cost.good_leads:,.0f} {cost.value:,.2f}" in text
    (with_rules,) = (row for row in prices if row.product_id == PRODUCT["product_id"])
    assert with_rules.rules


def test_every_guarantee_with_a_price_has_its_line(matched_copy):
    report(matched_copy, DAY)
    folders = (matched_copy.matches, matched_copy.marts)
    prices = load_product_prices(*(matched_copy.day_folder(root, DAY) for root in folders))
    text = section(matched_copy)
    guaranteed = [(row, each) for row in prices for each in row.guarantees]
    assert guaranteed
    for row, each in guaranteed:
        line = f"{row.institution_id} {row.product_id} {each.describe('CNY')}"
        assert line in text
        assert each.price > 0


def test_the_product_with_the_highest_price_comes_first(home, prices):
    first = max(prices, key=lambda row: max(row.price_of_quota, row.rules[0].value))
    assert f"Rule cost {first.institution_id} {first.product_id}" in section(home)


def test_an_infeasible_floor_is_a_finding_with_its_shortfall(home):
    quality = json.loads((home.day_folder(home.reports, DAY) / "quality.json").read_text("utf-8"))
    (floor,) = quality["matching"]["infeasible_floors"]
    assert floor == {"group": "bank-002", "promised": 400, "attainable": 10}
    assert quality["matching"]["min_floor_shortfall"] == 390
    (finding,) = (row for row in quality["findings"] if "infeasible" in row["title"])
    assert finding["severity"] == "remark"
    assert "400 leads a day for bank-002" in finding["title"]
    assert "relaxed by 390" in finding["evidence"]
    assert "at least 390" in finding["evidence"]
    assert "Floor of Leads a day Attainable Shortfall bank-002 400 10 390" in section(home)


def test_a_day_without_shadow_prices_has_an_empty_section(settings: Settings):
    assert not (settings.day_folder(settings.matches, EMPTY_DAY) / "prices.parquet").exists()
    assert "No shadow prices are published" in publish_report(settings).page
