"""Reasons are what the trees really added up, told in words that are true of the lead."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from expectations import policy
from expectations.contracts import load
from models.champion import model_artifacts, registry
from models.explanations import reasons
from models.explanations.fidelity import fidelity
from models.explanations.reason_text import SCHEMA
from models.explanations.reasons import Explainer
from models.explanations.reference_profile import ALL, Ordinary
from models.params import params
from models.scoring.estimators import Prior
from tests.models.conftest import AS_OF

LEVELS = {"high", "low", "usual", "unknown", "yes", "no", "rare"}


@pytest.fixture(scope="module")
def explainer(model_set) -> Explainer:
    return model_set.explainer("approval")


@pytest.fixture(scope="module")
def some(pairs) -> pa.Table:
    return pairs.slice(0, 400)


@pytest.fixture(scope="module")
def told(explainer, some) -> pa.Table:
    found = explainer.explain(some)
    assert found.num_rows > 2 * some.num_rows
    return found


def by_code(explainer: Explainer, table: pa.Table) -> dict[str, np.ndarray]:
    sums: dict[str, np.ndarray] = {}
    added = explainer.estimator.contributions(table, threads=2)
    for name, column in zip(explainer.estimator.features, added.T, strict=True):
        code = policy.reason_codes()[name]
        sums[code] = sums.get(code, 0) + column
    return sums


def test_a_reason_carries_exactly_what_its_features_added(explainer, some, told):
    sums = by_code(explainer, some)
    for row in told.to_pylist():
        assert row["log_odds"] == pytest.approx(sums[row["code"]][row["row"]], abs=1e-12)


def test_reasons_come_strongest_first_at_most_three_for_and_three_against(told):
    groups: dict[tuple[int, str], list[float]] = {}
    for row in told.to_pylist():
        groups.setdefault((row["row"], row["effect"]), []).append(row["log_odds"])
    assert {effect for _, effect in groups} == {"raises", "lowers"}
    for (_, effect), added in groups.items():
        assert len(added) <= params().most_reasons
        assert added == sorted(added, reverse=effect == "raises")
        assert all(value > 0 if effect == "raises" else value < 0 for value in added)


def test_a_reason_that_is_too_weak_beside_the_strongest_is_none(explainer, some, told):
    strongest = np.abs(list(by_code(explainer, some).values())).max(axis=0)
    others = told.filter(pc.greater(told["place"], 1))
    shares = np.abs(others["log_odds"].to_numpy()) / strongest[others["row"].to_numpy()]
    assert params().least_share_of_a_reason <= shares.min() < 2 * params().least_share_of_a_reason


def test_points_are_what_the_probability_loses_without_the_code(explainer, some, told):
    model = explainer.estimator
    raw = model.log_odds(model.encoder.matrix(some), threads=1)
    said = model.predict(some, threads=1)
    for row in told.slice(0, 200).to_pylist():
        without = model.calibration(1 / (1 + np.exp(row["log_odds"] - raw[row["row"]])))
        assert row["points"] == pytest.approx(100 * (said[row["row"]] - without), abs=1e-9)
        assert (row["points"] > 0) == (row["effect"] == "raises")


def test_changing_what_a_reason_names_moves_the_score_that_way(explainer, some):
    found = fidelity(explainer, some)
    assert found.reasons > 1000
    assert found.others >= 0.95
    assert found.ordinary >= 0.99
    assert found.word_alone >= 0.98


def test_contributions_alone_would_tell_less_of_the_truth(explainer, some):
    alone = fidelity(replace(explainer, is_confirmed=False), some)
    assert alone.ordinary < fidelity(explainer, some).ordinary - 0.02


def test_the_strongest_code_that_holds_by_itself_is_named_first(explainer, some, told):
    sums = by_code(explainer, some)
    codes = list(sums)
    strongest = np.array(codes)[np.argmax([sums[code] for code in codes], axis=0)]
    first = told.filter(pc.and_(pc.equal(told["place"], 1), pc.equal(told["effect"], "raises")))
    named = np.array(first["code"].to_pylist())
    assert len(named) == some.num_rows
    assert np.mean(named == strongest) > 0.8  # the rest: what was stronger did not hold


def test_high_and_low_are_told_by_where_the_value_lies_among_leads_of_its_kind(some, told):
    seen = 0
    for row in told.to_pylist():
        if row["tenth"] is None:
            continue
        tenths = {"low": range(1, 5), "usual": range(3, 9), "high": range(7, 11)}
        tenths["together"] = range(1, 11)
        assert row["tenth"] in tenths[row["level"]], row
        seen += 1
    assert seen > 500
    scores = np.array(some["bureau_score"].to_pylist(), dtype=float)
    about = [row for row in told.to_pylist() if row["feature"] == "bureau_score"]
    for level, ends in (("high", (600, 900)), ("low", (300, 580))):
        rows = [row for row in about if row["level"] == level]
        assert rows
        assert all(f"score is {level}" in row["person_en"] for row in rows)
        assert all(ends[0] <= scores[row["row"]] <= ends[1] for row in rows)


def test_what_is_unknown_is_said_to_be_unknown(explainer, some):
    unknown = some.set_column(
        some.column_names.index("bureau_score"),
        "bureau_score",
        pa.nulls(some.num_rows, some["bureau_score"].type),
    )
    rows = explainer.explain(unknown).to_pylist()
    about = [row for row in rows if row["feature"] == "bureau_score"]
    assert about
    assert {row["level"] for row in about} == {"unknown"}
    assert {row["person_en"] for row in about} == {"no credit bureau score of yours is known"}


def test_every_reason_has_words_for_both_readers_in_both_languages(told):
    for row in told.to_pylist():
        assert set(row) == set(SCHEMA.names)
        assert row["person_en"].isascii()
        for text in (row["person_zh"], row["analyst_zh"]):
            assert any("\u4e00" <= mark <= "\u9fff" for mark in text)
        for text in (row["analyst_en"], row["analyst_zh"]):
            assert text.startswith(row["code"])
            assert row["feature"] in text
            assert f"{row['log_odds']:+.3f}" in text
            assert f"{row['points']:+.1f}" in text


def test_words_never_hold_the_value_itself(some, told):
    incomes = some["income_monthly"].to_pylist()
    about = [row for row in told.to_pylist() if row["feature"] == "income_monthly"]
    assert about
    for row in about:
        assert f"{incomes[row['row']]:,.6g}" not in row["person_en"]
        assert row["tenth"] is None or "tenth" in row["analyst_en"]


def test_every_number_that_a_model_reads_has_words_for_high_and_low():
    groups = params().features.values()
    numbers = {name for group in groups for name in group.numbers}
    assert len(numbers) > 40
    for name in numbers:
        levels = policy.reason_by_code()[policy.reason_codes()[name]].levels.get(name, {})
        assert (
            {"yes", "no"} <= set(levels)
            if name.startswith("is_")
            else {"high", "low"} <= set(levels)
        ), name


def test_levels_are_levels_or_categories_that_the_contract_allows():
    for reason in policy.reasons():
        for feature, levels in reason.levels.items():
            if set(levels) <= LEVELS:
                continue
            assert set(levels) <= set(load("leads")[feature].allowed), (reason.code, feature)


@pytest.mark.parametrize("rows_at_once", [97, 10_000])
def test_batches_and_order_change_no_reason(explainer, some, told, monkeypatch, rows_at_once):
    monkeypatch.setattr(reasons, "ROWS_AT_ONCE", rows_at_once)
    assert explainer.explain(some).equals(told)
    order = np.random.default_rng(5).permutation(some.num_rows)
    turned = explainer.explain(some.take(pa.array(order)))
    back = turned.set_column(0, SCHEMA.field("row"), pa.array(order[turned["row"].to_numpy()]))
    keys = [("row", "ascending"), ("effect", "descending"), ("place", "ascending")]
    assert back.sort_by(keys).equals(told.combine_chunks().sort_by(keys))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_reason(explainer, some, told, threads):
    assert replace(explainer, threads=threads).explain(some).equals(told)


def test_a_stated_prior_names_what_its_band_rests_on(model_set, some):
    prior = replace(model_set, estimators={"risk": Prior("risk", "too little is known")})
    rows = prior.explainer("risk").explain(some, ["raises"]).to_pylist()
    assert len(rows) == some.num_rows
    assert {row["code"] for row in rows} == {"BUREAU_SCORE"}
    assert all("by a stated prior" in row["analyst_en"] for row in rows)


def test_what_is_ordinary_comes_from_the_registry_as_it_was_learned(market, model_set, pairs):
    ordinary = model_artifacts.ordinary(registry.folder(market, AS_OF) / "approval")
    assert ordinary is not None
    assert Ordinary.from_dict(ordinary.as_dict()).as_dict() == ordinary.as_dict()
    assert {ALL, "consumer/CNY", "business/CNY"} <= set(ordinary.borders)
    names = model_set.estimators["approval"].features
    revenue = names.index("revenue_annual")
    assert np.isnan(ordinary.borders["consumer/CNY"][revenue]).all()
    usual = ordinary.of(ordinary.kinds(pairs))
    assert usual.shape == (pairs.num_rows, len(names))
