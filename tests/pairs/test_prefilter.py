"""A large day is cut to its promising pairs; leads and products keep enough, the loss is told."""

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from expectations import policy
from expectations.policy_types import Candidates
from models import model_set as models
from pipelines.core.database import connect
from pipelines.core.publishing import read_manifest
from pipelines.matches import match_day
from pipelines.pairs import prefilter
from pipelines.pairs import score_day as pairs
from pipelines.pairs.eligibility.bitsets import unpacked
from pipelines.pairs.eligibility.engine import Eligibility, judge
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.prefilter import Cut, cut
from pipelines.pairs.prefilter_loss import loss_share
from pipelines.pairs.scoring import score_leads
from tests.helpers.day import write_day_before_matching
from tests.helpers.matched_day import DAY

LIMITS = Candidates(most_pairs=0, per_lead=3, quota_times=1.0, sampled_leads=10_000)

Day = tuple[duckdb.DuckDBPyConnection, Any, Eligibility]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Return a judged day of 300 leads and 40 products."""
    home = tmp_path_factory.mktemp("large")
    settings = write_day_before_matching(home, DAY, leads=300, products=40)
    model_set = models.load(settings, DAY)
    with connect(settings) as connection:
        marts = settings.day_folder(settings.marts, DAY)
        load_leads(connection, marts)
        score_leads(connection, model_set)
        yield connection, model_set, judge(connection, load_products(connection, marts, DAY), DAY)


def flags(judged: Eligibility) -> np.ndarray:
    return unpacked(judged.words, judged.products)


def cut_by(loaded: Day, **changes: float) -> Cut:
    return cut(*loaded, LIMITS.model_copy(update=changes))


def test_a_day_within_the_limit_is_left_whole(loaded):
    eligible = int(loaded[2].pairs.sum())
    whole = cut_by(loaded, most_pairs=eligible)
    assert whole.judged is loaded[2]
    assert (whole.sample, whole.facts) == (None, {})
    assert cut_by(loaded, most_pairs=eligible - 1).facts["eligible"] == eligible


def test_each_lead_keeps_its_most_promising_pairs_and_no_other_comes_in(loaded):
    kept, every = flags(cut_by(loaded).judged), flags(loaded[2])
    assert not (kept & ~every).any()
    assert (kept.sum(axis=1) >= np.minimum(every.sum(axis=1), 3)).all()
    assert 0 < kept.sum() < every.sum()


@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_each_product_keeps_enough_to_fill_its_quota(loaded, times):
    kept, every = flags(cut_by(loaded, quota_times=times).judged), flags(loaded[2])
    quota = loaded[0].sql("select daily_quota from products order by product_row").fetchall()
    wanted = np.minimum(every.sum(axis=0), np.ceil(times * np.array(quota)[:, 0]))
    assert (kept.sum(axis=0) >= wanted).all()


def test_nothing_is_lost_where_every_pair_is_kept(loaded):
    whole = cut_by(loaded, per_lead=40)
    assert np.array_equal(whole.judged.words, loaded[2].words)
    assert whole.facts["loss_with_free_quotas"] == 0


def test_how_pairs_are_split_changes_nothing(loaded, monkeypatch):
    before = cut_by(loaded, sampled_leads=50)
    monkeypatch.setattr(prefilter, "PROMISED_AT_ONCE", 40)
    after = cut_by(loaded, sampled_leads=50)
    assert np.array_equal(before.judged.words, after.judged.words)
    assert before.sample.equals(after.sample)


def by_hand(sample: list[dict[str, Any]], prices: dict[tuple[str, str], float]) -> float:
    def best(rows: list[dict[str, Any]]) -> float:
        of_institution: dict[str, float] = {}
        for row in rows:
            worth = row["expected_value"] - prices.get(
                (row["institution_id"], row["product_id"]), 0
            )
            name = row["institution_id"]
            of_institution[name] = max(of_institution.get(name, 0), worth)
        return sum(sorted(of_institution.values(), reverse=True)[:5])

    leads: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sample:
        if row["expected_value"] >= 1:
            leads.setdefault((row["channel_id"], row["lead_id"]), []).append(row)
    every = sum(best(rows) for rows in leads.values())
    kept = sum(best([row for row in rows if row["is_kept"]]) for rows in leads.values())
    return 1 - kept / every


@pytest.mark.parametrize("price", [0.0, 20.0])
def test_the_loss_is_what_leads_could_have_had_after_prices(loaded, price):
    sample = cut_by(loaded, per_lead=1, quota_times=0.0).sample
    names = {(row["institution_id"], row["product_id"]) for row in sample.to_pylist()}
    prices = dict.fromkeys(sorted(names)[::2], price)
    told = loss_share(loaded[0], sample, prices)
    assert told == pytest.approx(by_hand(sample.to_pylist(), prices))
    assert told > 0


def test_a_day_that_is_cut_says_so_in_its_manifests(matched_copy, monkeypatch):
    before = match_day.match(matched_copy, DAY)
    assert "cut_loss" not in before
    rules = policy.pairs().model_copy(update={"candidates": LIMITS})
    monkeypatch.setattr(policy, "pairs", lambda: rules)
    pairs.score(matched_copy, DAY)
    found = match_day.match(matched_copy, DAY)
    said = read_manifest(matched_copy.day_folder(matched_copy.pairs, DAY))["cut"]
    scored = pq.read_metadata(
        matched_copy.day_folder(matched_copy.pairs, DAY) / "pairs.parquet"
    ).num_rows
    assert said["kept"] == scored < said["eligible"]
    assert 0 <= found["cut_loss"] < 1
    assert found["value"] <= before["value"] * (1 + 1e-9)
    assert found["received"] == before["received"]
