"""The published reasons of matches and of adverse actions."""

from collections import Counter
from datetime import date
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models import model_set as models
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.matches.match_day import _load_tables
from pipelines.matches.reason_tables import (
    ADVERSE_ACTION_REASONS,
    MATCH_REASONS,
    find_adverse_actions,
)
from pipelines.pairs.scoring import score_leads
from tests.helpers.day import run_matching, write_day_before_matching

DAY = date(2026, 11, 20)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a day matched by a trained approval model, with small quotas and narrow bands."""
    home = tmp_path_factory.mktemp("trained")
    settings = write_day_before_matching(home, DAY, leads=700, pairs=4000, products=8)
    run_matching(settings, DAY)
    return settings


def rows(settings: Settings, root: str, name: str) -> list[Row]:
    path = settings.day_folder(settings.home / root, DAY) / f"{name}.parquet"
    found: list[Row] = pq.read_table(path).to_pylist()
    assert found
    return found


def test_files_have_their_schemas(trained):
    folder = trained.day_folder(trained.reasons, DAY)
    assert pq.read_schema(folder / "matches.parquet").equals(MATCH_REASONS)
    assert pq.read_schema(folder / "unmatched.parquet").equals(ADVERSE_ACTION_REASONS)


def test_codes_of_a_match_are_the_reasons_that_raise_its_approval(trained):
    codes: dict[str, list[str]] = {}
    for row in rows(trained, "reasons", "matches"):
        if row["effect"] == "raises":
            codes.setdefault(row["match_id"], []).append(row["code"])
    matches = rows(trained, "matches", "matches")
    assert {row["match_id"]: row["reasons"] for row in matches} == codes


def test_matches_also_have_reasons_against_them(trained):
    effects = Counter(row["effect"] for row in rows(trained, "reasons", "matches"))
    assert effects["lowers"] > 100


def test_every_adverse_action_has_reasons(trained):
    by_models = {
        (row["channel_id"], row["lead_id"]): row["stage"]
        for row in rows(trained, "unmatched", "unmatched")
        if row["stage"] in ("risk_band", "low_value", "quota")
    }
    reasons = rows(trained, "reasons", "unmatched")
    assert {(row["channel_id"], row["lead_id"]): row["stage"] for row in reasons} == by_models
    assert {"risk_band", "quota"} <= set(by_models.values())
    firsts = Counter(
        (row["channel_id"], row["lead_id"]) for row in reasons if row["strength_rank"] == 1
    )
    assert set(firsts.values()) == {1}


def test_risk_band_names_the_risk_model_and_other_stages_the_best_product(trained):
    best: dict[tuple[str, str], Row] = {}
    for pair in rows(trained, "pairs", "pairs"):
        key = (pair["channel_id"], pair["lead_id"])
        if key not in best or pair["expected_value"] > best[key]["expected_value"]:
            best[key] = pair
    for row in rows(trained, "reasons", "unmatched"):
        if row["stage"] == "risk_band":
            assert (row["model"], row["product_id"]) == ("risk", None)
            continue
        assert (row["model"], row["effect"]) == ("approval", "lowers")
        if row["stage"] in ("low_value", "quota"):
            counted = best[row["channel_id"], row["lead_id"]]
            assert row["product_id"] == counted["product_id"]


def test_lead_above_every_band_has_the_reasons_that_raise_its_risk(trained):
    marts = trained.day_folder(trained.marts, DAY)
    leads = {
        (row["channel_id"], row["lead_id"]): row
        for row in pq.read_table(marts / "leads.parquet").to_pylist()
    }
    above = [row for row in rows(trained, "reasons", "unmatched") if row["stage"] == "risk_band"]
    assert above
    for row in above:
        score = leads[row["channel_id"], row["lead_id"]]["bureau_score"]
        assert row["effect"] == "raises"
        assert row["code"] == "BUREAU_SCORE"
        assert score is None or score < 700


def test_reasons_have_text_and_name_no_lead(trained):
    leads = {row["lead_id"] for row in rows(trained, "matches", "matches")}
    assert leads
    for row in rows(trained, "reasons", "matches") + rows(trained, "reasons", "unmatched"):
        texts = [row[name] for name in ("person_en", "person_zh", "analyst_en", "analyst_zh")]
        assert all(texts)
        assert not any(row["lead_id"] in text for text in texts)


def best_products(settings: Settings, *, without: set[str]) -> dict[str, int]:
    """Return the best product of each lead of low value; no pair of `without` was kept."""
    with connect(settings) as connection:
        rules = _load_tables(connection, settings, DAY)
        model_set = models.load(settings, DAY)
        score_leads(connection, model_set)
        unmatched = pq.read_table(
            settings.day_folder(settings.unmatched, DAY) / "unmatched.parquet"
        )
        connection.register("unmatched", unmatched)
        connection.execute("create table kept as from scored_pairs")
        connection.execute("create or replace view scored_pairs as from kept")
        connection.execute(
            "delete from kept where lead_id in (select unnest(?::varchar[]))", [sorted(without)]
        )
        return {
            row["lead_id"]: row["product_row"]
            for actions in find_adverse_actions(connection, model_set, rules, DAY)
            for row in actions.rows.filter(pc.field("stage") == "low_value").to_pylist()
        }


def test_a_lead_that_kept_no_pair_is_scored_for_its_reasons(trained):
    """A large day keeps promising pairs only; the reasons of other leads are found all the same."""
    every = best_products(trained, without=set())
    assert len(every) > 20
    some = set(sorted(every)[::2])
    assert best_products(trained, without=some) == every
