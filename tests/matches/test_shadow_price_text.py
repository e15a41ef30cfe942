"""Each institution reads the shadow prices of its own limits, and nothing of any other's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries import deliver
from pipelines.matches import match_day as match
from pipelines.matches.shadow_price_text import (
    GuaranteePrice,
    ProductPrices,
    RulePrice,
    load_product_prices,
)
from pipelines.matches.shadow_prices import SCHEMA
from tests.helpers.day import run_matching
from tests.helpers.matched_day import DAY
from tests.helpers.representatives import keep
from tests.matches.test_rule_costs import PRODUCT, RULES, day_with

FREE = ProductPrices(
    institution_id="bank-001",
    product_id="loan-0002",
    quota=50,
    matches=50,
    price_of_quota=0.0,
    currency="CNY",
    budget=None,
    spent=0.0,
    price_of_budget=0.0,
    promised=0,
    short=0,
    price_of_floor=0.0,
    guarantees=(),
    rules=(),
)


def folders(settings: Settings) -> tuple[Path, Path]:
    return settings.day_folder(settings.matches, DAY), settings.day_folder(settings.marts, DAY)


def deliver_all(settings: Settings) -> dict[str, dict[str, Any]]:
    """Deliver the day; return institution -> its manifest."""
    (shard,) = deliver.plan_shards(settings, DAY)
    deliver.deliver(settings, DAY, shard)
    outbox = settings.day_folder(settings.outbox, DAY)
    return {name: read_manifest(outbox / name) for name in shard["institutions"]}


def prices(settings: Settings) -> list[dict[str, Any]]:
    table = pq.read_table(folders(settings)[0] / "prices.parquet")
    assert table.schema == SCHEMA
    return table.to_pylist()


def test_every_open_product_has_its_quota_with_its_use(matched_home):
    quotas = {row["product_id"]: row for row in prices(matched_home) if row["kind"] == "quota"}
    catalogue = pq.read_table(folders(matched_home)[1] / "products.parquet").to_pylist()
    terms = {row["product_id"]: row for row in catalogue if row["is_open"]}
    assert quotas.keys() == terms.keys()
    matches = pq.read_table(folders(matched_home)[0] / "matches.parquet").to_pylist()
    for product, row in quotas.items():
        made = [match for match in matches if match["product_id"] == product]
        assert (row["limit"], row["used"]) == (terms[product]["daily_quota"], len(made))
        assert {match["price_of_quota"] for match in made} <= {row["price"]}


@pytest.mark.parametrize("more", keep((0,), [1, 2]))
def test_one_more_lead_of_quota_adds_at_max_its_price(tmp_path, more):
    before = day_with(tmp_path / "before", 4)
    after = day_with(tmp_path / "after", 4 + more)
    gained = run_matching(after, DAY)["value"] - run_matching(before, DAY)["value"]
    total = sum(row["price"] for row in prices(before) if row["kind"] == "quota")
    assert 0 < gained <= more * total + 1e-3


def test_binding_budget_of_a_product_that_pays_per_lead_has_the_price(tmp_path):
    home = day_with(tmp_path, 4)
    marts = home.day_folder(home.marts, DAY)
    tables = {path.name: pq.read_table(path) for path in sorted(marts.glob("*.parquet"))}
    rows = tables["products.parquet"].to_pylist()
    (bound,) = (row for row in rows if row["product_id"] == "loan-0000")
    assert bound["price_model"] == "cpl"
    bound["daily_budget"] = 2.5 * bound["price"]
    tables["products.parquet"] = tables["products.parquet"].from_pylist(
        rows, tables["products.parquet"].schema
    )
    with publishing(marts, {}) as fresh:
        for name, table in tables.items():
            write_parquet(table, fresh / name)
    run_matching(home, DAY)
    quota, budget = (
        row
        for row in prices(home)
        if row["product_id"] == "loan-0000" and row["kind"] in {"quota", "budget"}
    )
    assert (quota["kind"], quota["limit"], quota["used"], quota["price"]) == ("quota", 4, 2, 0)
    assert (budget["kind"], budget["limit"]) == ("budget", bound["daily_budget"])
    assert budget["used"] == 2 * bound["price"]
    assert budget["price"] > 0


def test_manifest_of_an_institution_has_its_own_products_alone(matched_copy):
    manifests = deliver_all(matched_copy)
    catalogue = pq.read_table(folders(matched_copy)[1] / "products.parquet").to_pylist()
    owner = {row["product_id"]: row["institution_id"] for row in catalogue}
    assert len(manifests) > 2
    for name, manifest in manifests.items():
        own = {product for product, whose in owner.items() if whose == name}
        assert {row["product_id"] for row in manifest["prices"]} <= own
        assert manifest["prices"]
        text = json.dumps(manifest)
        assert not [product for product in owner.keys() - own if product in text]
        assert not [other for other in set(owner.values()) - {name} if other in text]


def test_rule_has_a_text_with_its_cost(tmp_path):
    settings = day_with(tmp_path, 1_000, *RULES)
    run_matching(settings, DAY)
    (prices_of_product,) = (
        each
        for each in load_product_prices(*folders(settings))
        if each.product_id == PRODUCT["product_id"]
    )
    costs = {cost.rule: cost for cost in prices_of_product.rules}
    cost = costs["score of a licensed bureau of at least 600"]
    assert costs.keys() >= {"region of residence or registration among CN-31, CN-44"}
    assert [cost.value for cost in prices_of_product.rules] == sorted(
        (cost.value for cost in prices_of_product.rules), reverse=True
    )
    assert (
        f"Your limit to score of a licensed bureau of at least 600 keeps {cost.good_leads:,.0f} "
        "good leads a day from you that would be matched within your quota; your result after "
        f"fees would be {cost.value:,.0f} CNY higher."
    ) in prices_of_product.sentences


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"price_of_quota": 38.4}, "One more lead a day would add 38 CNY."),
        (
            {"matches": 12},
            "Your quota of 50 leads a day is not used up (12 matched): a larger quota would add",
        ),
        (
            {"budget": 5_000.0, "price_of_budget": 0.52, "currency": "USD", "price_of_quota": 1.0},
            "One more USD of your daily budget of 5,000 USD would add 0.52 CNY.",
        ),
        (
            {"promised": 20, "short": 8},
            "You were promised 20 leads a day; 12 is the most that your rules and the other",
        ),
        (
            {"guarantees": (GuaranteePrice("approval_rate", 0.124, 0.125, 3.0),)},
            "Your leads are held to an expected approval rate of at least 12.4%, as of random",
        ),
        (
            {"rules": (RulePrice("income of at least 5,000", 1.0, 9.5),)},
            (
                "Your limit to income of at least 5,000 keeps 1 good lead a day from you that "
                "would be matched within your quota; your result after fees would be 9.50"
            ),
        ),
    ],
)
def test_each_price_has_its_sentence(changes, sentence):
    product = ProductPrices(**{**vars(FREE), **changes})
    assert product.sentences[-1].startswith(sentence)


def test_product_without_binding_limits_has_no_sentences():
    assert FREE.sentences == []


def test_changed_prices_change_the_manifest_and_not_the_version(matched_copy):
    first = deliver_all(matched_copy)
    republish(matched_copy, lambda row: row | {"price": row["price"] + 5.0})
    second = deliver_all(matched_copy)
    for name, manifest in second.items():
        assert manifest["version"] == first[name]["version"] == 1
        assert manifest["files"] == first[name]["files"]
        for row, before in zip(manifest["prices"], first[name]["prices"], strict=True):
            assert row["price_of_quota"] == pytest.approx(before["price_of_quota"] + 5)


def republish(settings: Settings, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    folder = settings.day_folder(settings.matches, DAY)
    tables = {path.name: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}
    rows = [changed(row) for row in tables["prices.parquet"].to_pylist()]
    tables["prices.parquet"] = tables["prices.parquet"].from_pylist(rows, SCHEMA)
    with publishing(folder, read_manifest(folder)) as fresh:
        for name, table in tables.items():
            write_parquet(table, fresh / name)


def test_matching_again_gives_the_same_prices(matched_copy):
    before = prices(matched_copy)
    match.match(matched_copy, DAY)
    assert prices(matched_copy) == before
