"""Other weights need no new scoring: `match` values anew what the models said once."""

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches import match_day
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.revaluing import load_pairs
from tests.helpers.matched_day import DAY


def read_back(settings: Settings):
    marts, pairs = (settings.day_folder(root, DAY) for root in (settings.marts, settings.pairs))
    with connect(settings) as connection:
        load_leads(connection, marts)
        load_products(connection, marts, DAY)
        load_pairs(connection, pairs)
        return (
            connection.sql("from pairs order by row").to_arrow_table(),
            connection.sql("from funnel order by all").to_arrow_table(),
        )


def with_weights(monkeypatch, **changes: float) -> None:
    changed = policy.value().model_copy(update=changes)
    monkeypatch.setattr(policy, "value", lambda: changed)


def test_by_the_same_weights_every_value_comes_out_the_same(matched_home):
    folder = matched_home.day_folder(matched_home.pairs, DAY)
    pairs, funnel = read_back(matched_home)
    stored = pq.read_table(folder / "pairs.parquet")
    stored = stored.filter(pc.greater_equal(stored["expected_value"], 1.0))
    assert len(stored) > 0
    assert pairs.drop(["row"]).equals(stored)
    assert pairs["row"].to_pylist() == list(range(len(stored)))
    assert funnel.equals(pq.read_table(folder / "funnel.parquet").cast(funnel.schema))


def test_a_weight_doubled_changes_values_and_no_probability(matched_home, monkeypatch):
    before, _ = read_back(matched_home)
    with_weights(monkeypatch, revenue_weight=2.0)
    after, _ = read_back(matched_home)
    assert len(after) >= len(before) > 0
    keys = ["channel_id", "lead_id", "institution_id", "product_id"]
    joined = before.join(after, keys, right_suffix="_after")
    gained = pc.subtract(joined["expected_value_after"], joined["expected_value"])
    assert pc.max(pc.abs(pc.subtract(gained, joined["revenue"]))).as_py() < 1e-3
    for name in ("pd", "p_approve", "p_fund", "suggested_apr"):
        assert joined[name].equals(joined[f"{name}_after"])


def test_a_higher_least_value_leaves_fewer_pairs_and_the_funnel_says_so(matched_home, monkeypatch):
    before, _ = read_back(matched_home)
    least = pc.quantile(before["expected_value"], 0.5)[0].as_py()
    with_weights(monkeypatch, minimum_value=least)
    after, funnel = read_back(matched_home)
    assert 0 < len(after) < len(before)
    assert pc.sum(funnel["low_value"]).as_py() == len(after)


def test_match_follows_new_weights_without_a_new_scoring(matched_copy, monkeypatch):
    scored = read_manifest(matched_copy.day_folder(matched_copy.pairs, DAY))["content_sha256"]
    before = match_day.match(matched_copy, DAY)["value"]
    with_weights(monkeypatch, revenue_weight=2.0)
    monkeypatch.setattr(
        policy, "version", lambda *without: VERSION(*without) if without else "other-weights"
    )
    found = match_day.match(matched_copy, DAY)
    assert found["value"] > 1.3 * before
    assert found["policy_version"] == "other-weights"
    assert (
        read_manifest(matched_copy.day_folder(matched_copy.pairs, DAY))["content_sha256"] == scored
    )


def test_match_still_refuses_pairs_of_another_policy(matched_copy, monkeypatch):
    monkeypatch.setattr(policy, "version", lambda *_: "another")
    with pytest.raises(InputMissing, match="policy_version_of_scoring"):
        match_day.match(matched_copy, DAY)


VERSION = policy.version
