"""The cost of a hard rule is the value that the day gains without the rule."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches import match_day
from pipelines.pairs import score_day as pairs
from pipelines.pairs.near_misses import NEAR_MISS_SCHEMA
from tests.helpers.day import run_matching, write_day_before_matching
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY, lift_guarantees
from tests.helpers.representatives import keep

PRODUCT = {"institution_id": "bank-003", "product_id": "loan-0007"}
RULES = [
    {"attribute": "bureau_score", "op": "ge", "value": "600"},
    {"attribute": "region", "op": "in", "value": "CN-31|CN-44"},
]


def day_with(home: Path, quota: int, *rules: dict[str, str]) -> Settings:
    """Return a day whose products all have the same quota; loan-0007 has `rules`."""
    table = pa.Table.from_pylist([PRODUCT | rule for rule in rules], SCHEMAS["product_rules"])
    before = write_marts(home / "before", DAY, leads=150, products=12, pairs=1)
    catalogue = pq.read_table(before.day_folder(before.marts, DAY) / "products.parquet")
    column = catalogue.column_names.index("daily_quota")
    catalogue = catalogue.set_column(
        column, "daily_quota", pa.array([quota] * len(catalogue), pa.int64())
    )
    return write_day_before_matching(
        home, DAY, leads=150, products=12, product_rules_table=table, products_table=catalogue
    )


def rule_costs(settings: Settings) -> list[dict[str, Any]]:
    folder = settings.day_folder(settings.matches, DAY)
    return pq.read_table(folder / "rule_costs.parquet").to_pylist()


def of_rule(settings: Settings, attribute: str) -> dict[str, Any]:
    (row,) = (
        row
        for row in rule_costs(settings)
        if (row["product_id"], row["attribute"]) == (PRODUCT["product_id"], attribute)
    )
    return row


def lender_result(settings: Settings) -> float:
    """Return the margin less the fees of the institution's matches."""
    key = ("channel_id", "lead_id", "product_id")
    folders = (settings.pairs, "pairs"), (settings.matches, "matches")
    pairs, matches = (
        pq.read_table(settings.day_folder(root, DAY) / f"{name}.parquet").to_pylist()
        for root, name in folders
    )
    scored = {tuple(row[name] for name in key): row for row in pairs}
    made = [
        scored[tuple(row[name] for name in key)]
        for row in matches
        if row["institution_id"] == PRODUCT["institution_id"]
    ]
    return sum(row["institution_margin"] - row["revenue"] for row in made)


@pytest.fixture
def quotas_alone(monkeypatch):
    """Let quotas alone decide: no guarantee, no exploration."""
    lift_guarantees(monkeypatch)
    exploration = policy.exploration().model_copy(update={"share": 0.0})
    monkeypatch.setattr(policy, "exploration", lambda: exploration)


@pytest.mark.parametrize("quota", keep((1,), [4, 9, 1_000]))
@pytest.mark.usefixtures("quotas_alone")
def test_cost_is_what_the_lenders_result_gains_when_the_day_is_solved_again(tmp_path, quota):
    strict = day_with(tmp_path / "strict", quota, *RULES)
    run_matching(strict, DAY)
    for loosened, kept in (RULES, RULES[::-1]):
        loose = day_with(tmp_path / loosened["attribute"], quota, kept)
        run_matching(loose, DAY)
        row = of_rule(strict, loosened["attribute"])
        gained = lender_result(loose) - lender_result(strict)
        assert row["value"] == pytest.approx(gained, rel=0.1, abs=1)
        assert 0 <= row["good_leads"] <= min(quota, row["near_misses"])


def test_only_rules_that_a_product_may_change_have_a_cost(matched_home):
    steps = {row["step"] for row in rule_costs(matched_home)}
    assert steps
    assert steps <= {"amount", "term", "rules", "risk_band"}


def test_sample_is_scaled_to_all_leads(tmp_path, monkeypatch):
    settings = day_with(tmp_path, 1_000, *RULES)
    run_matching(settings, DAY)
    every = of_rule(settings, "bureau_score")
    limits = policy.pairs().near_misses.model_copy(update={"sampled_leads": 70})
    rules = policy.pairs().model_copy(update={"near_misses": limits})
    monkeypatch.setattr(policy, "pairs", lambda: rules)
    run_matching(settings, DAY)
    sample = read_manifest(settings.day_folder(settings.pairs, DAY))["near_misses"]
    assert (sample["leads"], sample["of_leads"]) == (70, 144)
    sampled = of_rule(settings, "bureau_score")
    assert sampled["near_misses"] == pytest.approx(every["near_misses"], rel=0.5)
    assert sampled["near_misses"] % (144 / 70) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("most", keep((1,), [0, 1, 40]))
def test_scored_near_misses_stay_within_policy_with_whole_leads(
    matched_copy: Settings, monkeypatch, most
):
    limits = policy.pairs().near_misses.model_copy(update={"max_pairs": most})
    rules = policy.pairs().model_copy(update={"near_misses": limits})
    before = near(matched_copy)
    monkeypatch.setattr(policy, "pairs", lambda: rules)
    pairs.score(matched_copy, DAY)
    after = near(matched_copy)
    assert len(after) <= most < len(before)
    for lead in {row["lead_id"] for row in after}:
        assert sum(row["lead_id"] == lead for row in after) == sum(
            row["lead_id"] == lead for row in before
        )
    assert match_day.match(matched_copy, DAY)["matches"] > 0


def near(settings: Settings) -> list[dict[str, Any]]:
    table = pq.read_table(settings.day_folder(settings.pairs, DAY) / "near_misses.parquet")
    assert table.schema == NEAR_MISS_SCHEMA
    return table.to_pylist()
