"""The page tells what limits cost, and which promises are out of reach."""

import json
import re
from datetime import date
from html import unescape

import pytest

from expectations import policy
from expectations.policy_types import Limits
from pipelines.core.settings import Settings
from pipelines.matches.shadow_price_text import told_prices
from pipelines.reports import report
from tests.helpers.day import run_matching
from tests.helpers.published_day import DAY as EMPTY_DAY
from tests.matches.test_rule_costs import DAY, PRODUCT, RULES, day_with
from tests.reports.conftest import make

PROMISE = {"from": date(2026, 11, 1), "source": "test", "leads_a_day": 400}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A matched day on which one promise is out of reach; only to be read."""
    floors = [PROMISE | {"institution_id": "bank-002"}]
    limits = Limits.model_validate({"decided_on": DAY, "source": "test", "floors": floors})
    settings = day_with(tmp_path_factory.mktemp("prices"), 6, *RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "limits", lambda: limits)
        run_matching(settings, DAY)
    report(settings, DAY)
    return settings


def section(settings: Settings) -> str:
    page = (settings.day_folder(settings.reports, DAY) / "index.html").read_text("utf-8")
    found = re.search(r'<section id="prices">.*?</section>', page, re.DOTALL)
    assert found
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[0])).split())


def test_every_open_product_stands_with_its_quota_matches_price_and_dearest_rules(home):
    text = section(home)
    told = told_prices(home.day_folder(home.matches, DAY), home.day_folder(home.marts, DAY))
    assert len(told) == 11
    for each in told:
        line = f"{each.institution_id} {each.product_id} {each.quota} {each.matches} "
        assert f"{line}{each.price_of_quota:,.2f}" in text
        for cost in each.rules[:3]:
            assert f"{cost.rule} {cost.good_leads:,.0f} {cost.value:,.2f}" in text
    (of_rule,) = (each for each in told if each.product_id == PRODUCT["product_id"])
    assert of_rule.rules


def test_those_that_lose_most_come_first(home):
    told = told_prices(home.day_folder(home.matches, DAY), home.day_folder(home.marts, DAY))
    worst = max(told, key=lambda each: max(each.price_of_quota, each.rules[0].value))
    assert f"Their worth {worst.institution_id} {worst.product_id}" in section(home)


def test_a_promise_out_of_reach_is_a_finding_with_the_least_that_it_must_yield(home):
    quality = (home.day_folder(home.reports, DAY) / "quality.json").read_text("utf-8")
    (finding,) = (row for row in json.loads(quality)["findings"] if "promised" in row["what"])
    assert finding["weight"] == "act"
    assert finding["what"] == "400 leads a day promised to bank-002, 10 within reach"
    assert (
        "gave way by 390; no plan misses all floors together by fewer than 390"
        in (finding["evidence"])
    )
    assert "Promised to Leads a day Within reach Short by bank-002 400 10 390" in section(home)


def test_a_day_without_prices_says_so(settings: Settings):
    assert not (settings.day_folder(settings.matches, EMPTY_DAY) / "prices.parquet").exists()
    assert "No prices are published for this day." in make(settings).page
