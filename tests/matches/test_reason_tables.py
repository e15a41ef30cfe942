"""Why each match and each lead without one: reasons that name what counted, in files."""

from collections import Counter
from datetime import date
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.core.settings import Settings
from pipelines.matches.reason_tables import OF_MATCHES, OF_UNMATCHED
from tests.helpers.day import run_matching, write_day_before_matching

DAY = date(2026, 11, 20)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A day matched by an approval model that was trained, with few places and narrow bands."""
    home = tmp_path_factory.mktemp("learned")
    settings = write_day_before_matching(home, DAY, leads=700, pairs=4000, products=8)
    run_matching(settings, DAY)
    return settings


def rows(settings: Settings, root: str, name: str) -> list[Row]:
    path = settings.day_folder(settings.home / root, DAY) / f"{name}.parquet"
    found: list[Row] = pq.read_table(path).to_pylist()
    assert found
    return found


def test_the_files_have_their_columns(learned):
    folder = learned.day_folder(learned.reasons, DAY)
    assert pq.read_schema(folder / "matches.parquet").equals(OF_MATCHES)
    assert pq.read_schema(folder / "unmatched.parquet").equals(OF_UNMATCHED)


def test_the_codes_of_a_match_are_those_that_spoke_for_it(learned):
    spoke: dict[str, list[str]] = {}
    for row in rows(learned, "reasons", "matches"):
        if row["effect"] == "raises":
            spoke.setdefault(row["match_id"], []).append(row["code"])
    matches = rows(learned, "matches", "matches")
    assert {row["match_id"]: row["reasons"] for row in matches} == spoke


def test_matches_also_say_what_speaks_against_them(learned):
    effects = Counter(row["effect"] for row in rows(learned, "reasons", "matches"))
    assert effects["lowers"] > 100


def test_every_lead_that_a_model_left_without_a_match_has_its_reasons(learned):
    by_models = {
        (row["channel_id"], row["lead_id"]): row["stage"]
        for row in rows(learned, "unmatched", "unmatched")
        if row["stage"] in ("risk_band", "low_value", "quota")
    }
    told = rows(learned, "reasons", "unmatched")
    assert {(row["channel_id"], row["lead_id"]): row["stage"] for row in told} == by_models
    assert {"risk_band", "quota"} <= set(by_models.values())
    firsts = Counter(
        (row["channel_id"], row["lead_id"]) for row in told if row["strength_rank"] == 1
    )
    assert set(firsts.values()) == {1}


def test_a_risk_out_of_band_is_told_of_the_risk_and_the_others_of_the_best_product(learned):
    best: dict[tuple[str, str], Row] = {}
    for pair in rows(learned, "pairs", "pairs"):
        key = (pair["channel_id"], pair["lead_id"])
        if key not in best or pair["expected_value"] > best[key]["expected_value"]:
            best[key] = pair
    for row in rows(learned, "reasons", "unmatched"):
        if row["stage"] == "risk_band":
            assert (row["model"], row["product_id"]) == ("risk", None)
            continue
        assert (row["model"], row["effect"]) == ("approval", "lowers")
        if row["stage"] == "quota":
            counted = best[row["channel_id"], row["lead_id"]]
            assert row["product_id"] == counted["product_id"]


def test_a_lead_above_every_band_is_told_what_raises_its_risk(learned):
    marts = learned.day_folder(learned.marts, DAY)
    leads = {
        (row["channel_id"], row["lead_id"]): row
        for row in pq.read_table(marts / "leads.parquet").to_pylist()
    }
    above = [row for row in rows(learned, "reasons", "unmatched") if row["stage"] == "risk_band"]
    assert above
    for row in above:
        score = leads[row["channel_id"], row["lead_id"]]["bureau_score"]
        assert row["effect"] == "raises"
        assert row["code"] == "BUREAU_SCORE"
        assert score is None or score < 700


def test_what_is_told_is_in_words_and_names_nobody(learned):
    leads = {row["lead_id"] for row in rows(learned, "matches", "matches")}
    assert leads
    for row in rows(learned, "reasons", "matches") + rows(learned, "reasons", "unmatched"):
        words = [row[name] for name in ("person_en", "person_zh", "analyst_en", "analyst_zh")]
        assert all(words)
        assert not any(row["lead_id"] in text for text in words)
