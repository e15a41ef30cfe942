"""Scored pairs: order, prices, funnel, and equal bytes for any batches, threads and row order."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from expectations import policy
from models import train_models
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.pairs import scoring
from pipelines.pairs.score_day import score
from pipelines.pairs.valuation import PAIR_SCHEMA
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY

LEAST_ODDS = policy.least_odds(DAY)["default"].of_match


def published_pairs(settings: Settings) -> pa.Table:
    return pq.read_table(settings.day_folder(settings.pairs, DAY) / "pairs.parquet")


def read_hash(settings: Settings) -> str:
    content_hash: str = read_manifest(settings.day_folder(settings.pairs, DAY))["content_sha256"]
    return content_hash


def test_pairs_are_priced_within_product_cap_and_band(matched_home):
    products = pq.read_table(
        matched_home.day_folder(matched_home.marts, DAY) / "products.parquet",
        columns=["institution_id", "product_id", "apr_min", "apr_max", "pd_min", "pd_max"],
    )
    table = published_pairs(matched_home).join(products, ["institution_id", "product_id"])
    assert table.num_rows > 0
    for low, value, high in (("apr_min", "suggested_apr", "apr_max"), ("pd_min", "pd", "pd_max")):
        assert pc.all(pc.less_equal(table[low], table[value])).as_py()
        assert pc.all(pc.less_equal(table[value], table[high])).as_py()
    assert pc.max(table["suggested_apr"]).as_py() <= 0.24


def test_pairs_are_ordered_by_key(matched_home):
    keys = ["channel_id", "lead_id", "institution_id", "product_id"]
    table = published_pairs(matched_home)
    assert table.schema == PAIR_SCHEMA
    assert table.equals(table.sort_by([(key, "ascending") for key in keys]))


def test_the_funnel_ends_with_the_pairs_at_the_minimum_value(matched_home):
    funnel = pq.read_table(matched_home.day_folder(matched_home.pairs, DAY) / "funnel.parquet")
    remaining = {row["lead_id"]: row["low_value"] for row in funnel.to_pylist()}
    pairs = published_pairs(matched_home)
    likely = pairs.filter(pc.greater_equal(pairs["p_approve"], LEAST_ODDS))
    worthwhile = likely.filter(pc.greater_equal(likely["expected_value"], 1.0))
    assert 0 < len(worthwhile) < len(pairs)
    counts = worthwhile["lead_id"].value_counts().to_pylist()
    assert {lead: n for lead, n in remaining.items() if n} == {
        row["values"]: row["counts"] for row in counts
    }


def test_the_expected_cost_is_the_cost_of_the_channel(matched_home):
    for row in published_pairs(matched_home).to_pylist():
        assert row["expected_cost"] == 30.0 + 5 * int(row["channel_id"].removeprefix("channel-"))


def test_the_batch_size_does_not_change_a_byte(matched_copy, monkeypatch):
    before = read_hash(matched_copy)
    monkeypatch.setattr(scoring, "PAIRS_PER_BATCH", 7)
    score(matched_copy, DAY)
    assert read_hash(matched_copy) == before


def test_threads_and_row_order_do_not_change_a_byte(matched_copy):
    before = read_hash(matched_copy)
    reversed_tables = {}
    for path in matched_copy.day_folder(matched_copy.marts, DAY).glob("*.parquet"):
        table = pq.read_table(path)
        backwards = pa.array(range(table.num_rows - 1, -1, -1), pa.int64())
        reversed_tables[f"{path.stem}_table"] = table.take(backwards)
    other = Settings(home=matched_copy.home, threads=1)
    write_marts(other.home, DAY, **reversed_tables)
    score(other, DAY)
    assert read_hash(other) == before


def test_a_day_without_leads_publishes_empty_tables(tmp_path):
    none = SCHEMAS["leads"].empty_table()
    settings = write_marts(tmp_path, DAY, products=4, pairs=40, leads_table=none)
    train_models.ensure_model_set(settings, DAY)
    counts = score(settings, DAY)
    assert (counts["leads"], counts["pairs"], counts["open_products"]) == (0, 0, 3)
    assert published_pairs(settings).schema == PAIR_SCHEMA


def test_the_manifest_states_marts_and_models(matched_home):
    manifest = read_manifest(matched_home.day_folder(matched_home.pairs, DAY))
    assert manifest["inputs"].keys() == {f"marts/date={DAY}"}
    assert manifest["models"].startswith("2026-11-16")
    assert manifest["closed_products"] == 1


def test_scoring_before_the_marts_is_refused(tmp_path):
    with pytest.raises(InputMissing, match="marts"):
        score(Settings(home=tmp_path), DAY)
