"""One party's impossible number closes its own product by name; everybody else's day goes on."""

import math
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from tests.helpers.day import run_matching, write_day_before_matching
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY

VICTIM = ("bank-000", "loan-0000")
INT64_MAX = 9_223_372_036_854_775_807


def change_rows(settings: Settings, name: str, *changes: dict[str, Any]) -> pa.Table:
    """Return a mart with other values in the first products, or in the first leads."""
    table = pq.read_table(settings.day_folder(settings.marts, DAY) / f"{name}.parquet")
    rows = zip_longest(table.to_pylist(), changes, fillvalue={})
    return pa.Table.from_pylist([row | change for row, change in rows], table.schema)


def match_with(home: Path, mart: str, *changes: dict[str, Any]) -> tuple[dict[str, Any], Settings]:
    settings = write_marts(home / "base", DAY, leads=60, pairs=40)
    changed = {f"{mart}_table": change_rows(settings, mart, *changes)}
    settings = write_day_before_matching(home / "changed", DAY, **changed)
    return run_matching(settings, DAY), settings


def closed_products(settings: Settings) -> dict[tuple[str, str], str]:
    path = settings.day_folder(settings.pairs, DAY) / "closed_products.parquet"
    return {
        (row["institution_id"], row["product_id"]): row["reason"]
        for row in pq.read_table(path).to_pylist()
    }


def test_impossible_terms_close_the_product_by_name(tmp_path):
    terms: list[dict[str, Any]] = [
        {"price": 1e308},
        {"price": math.nan},
        {"price": 110105198808082707.0},
        {"price_model": "cps", "price": 1.58},
        {"amount_max": math.inf},
        {"daily_budget": math.inf},
        {"price_model": "cpa", "price": 2e9},
    ]
    matched, settings = match_with(tmp_path, "products", *terms)
    assert matched["matches"] > 0
    reasons = closed_products(settings)
    paused = {product for product, reason in reasons.items() if reason == "paused"}
    assert len(reasons) - len(paused) == len(terms)
    for product in sorted(reasons.keys() - paused):
        assert reasons[product].startswith("impossible")
        assert not any(digit in reasons[product] for digit in ("1105", "308", "1.58"))


def test_an_unlimited_quota_counts_as_the_leads_there_are(tmp_path):
    unlimited = [{"daily_quota": INT64_MAX}, {"daily_quota": 10**15}]
    matched, settings = match_with(tmp_path, "products", *unlimited)
    as_many_as_leads, _ = match_with(tmp_path / "reference", "products", *[{"daily_quota": 60}] * 2)
    assert matched["matches"] == as_many_as_leads["matches"] > 0
    assert set(closed_products(settings).values()) == {"paused"}


def test_an_impossible_amount_of_a_lead_costs_only_its_own_pairs(tmp_path):
    matched, settings = match_with(tmp_path, "leads", {"amount": 1e300}, {"amount": math.inf})
    assert matched["matches"] > 0
    assert all(reason == "paused" for reason in closed_products(settings).values())


def test_a_pair_of_impossible_value_is_named_and_not_matched(tmp_path):
    base = write_marts(tmp_path / "base", DAY, leads=60, pairs=40)
    settings = write_day_before_matching(
        tmp_path / "changed",
        DAY,
        leads_table=change_rows(base, "leads", {"amount": 1e18}),
        products_table=change_rows(
            base, "products", {"amount_max": 1e300, "price_model": "cps", "price": 0.02}
        ),
    )
    assert run_matching(settings, DAY)["matches"] > 0
    findings = read_manifest(settings.day_folder(settings.pairs, DAY))["findings"]
    assert findings in (
        [],  # the lead fits no product for another reason
        [{"id": "pair_value_impossible", "count": 1, "sources": ["/".join(VICTIM)]}],
    )


def test_a_normal_day_states_no_finding(matched_home):
    assert read_manifest(matched_home.day_folder(matched_home.pairs, DAY))["findings"] == []
