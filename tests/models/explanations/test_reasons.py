"""Reasons are exact contributions of the trees, with text that is true of the lead."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from expectations import policy
from expectations.contracts import load
from models.champion import registry
from models.explanations import reasons
from models.explanations.fidelity import measure_fidelity
from models.explanations.reason_text import SCHEMA
from models.explanations.reasons import Explainer
from models.explanations.reference_profile import ALL, ReferenceProfile
from models.params import params
from models.scoring.estimators import Prior
from tests.helpers.trained_market import AS_OF

LEVELS = {"high", "low", "usual", "unknown", "yes", "no", "rare"}


@pytest.fixture(scope="module")
def explainer(model_set) -> Explainer:
    return model_set.explainer("approval")


@pytest.fixture(scope="module")
def some(pairs) -> pa.Table:
    return pairs.slice(0, 400)


@pytest.fixture(scope="module")
def explained(explainer, some) -> pa.Table:
    table = explainer.explain(some)
    assert table.num_rows > 2 * some.num_rows
    return table


def by_code(explainer: Explainer, table: pa.Table) -> dict[str, np.ndarray]:
    sums: dict[str, np.ndarray] = {}
    contributions = explainer.estimator.contributions(table, threads=2)
    for name, column in zip(explainer.estimator.features, contributions.T, strict=True):
        code = policy.reason_codes()[name]
        sums[code] = sums.get(code, 0) + column
    return sums


def test_a_reason_has_the_exact_contribution_of_its_features(explainer, some, explained):
    sums = by_code(explainer, some)
    for row in explained.to_pylist():
        assert row["log_odds"] == pytest.approx(sums[row["code"]][row["row"]], abs=1e-12)


def test_reasons_are_strongest_first_and_at_max_three_of_each_effect(explained):
    groups: dict[tuple[int, str], list[float]] = {}
    for row in explained.to_pylist():
        groups.setdefault((row["row"], row["effect"]), []).append(row["log_odds"])
    assert {effect for _, effect in groups} == {"raises", "lowers"}
    for (_, effect), values in groups.items():
        assert len(values) <= params().max_reasons
        assert values == sorted(values, reverse=effect == "raises")
        assert all(value > 0 if effect == "raises" else value < 0 for value in values)


def test_codes_far_weaker_than_the_strongest_are_no_reasons(explainer, some, explained):
    strongest = np.abs(list(by_code(explainer, some).values())).max(axis=0)
    others = explained.filter(pc.greater(explained["strength_rank"], 1))
    shares = np.abs(others["log_odds"].to_numpy()) / strongest[others["row"].to_numpy()]
    assert params().min_reason_share <= shares.min() < 2 * params().min_reason_share


def test_points_are_the_probability_less_that_without_the_code(explainer, some, explained):
    model = explainer.estimator
    raw = model.predict_log_odds(model.encoder.encode(some), threads=1)
    predicted = model.predict(some, threads=1)
    for row in explained.slice(0, 200).to_pylist():
        without = model.calibration(1 / (1 + np.exp(row["log_odds"] - raw[row["row"]])))
        assert row["points"] == pytest.approx(100 * (predicted[row["row"]] - without), abs=1e-9)
        assert (row["points"] > 0) == (row["effect"] == "raises")


def test_changing_the_features_of_a_reason_moves_the_score_as_stated(explainer, some):
    fidelity = measure_fidelity(explainer, some)
    assert fidelity.reasons > 1000
    assert fidelity.peer_values >= 0.95
    assert fidelity.reference >= 0.99
    assert fidelity.reference_feature >= 0.98


def test_unconfirmed_contributions_are_less_faithful(explainer, some):
    unconfirmed = measure_fidelity(replace(explainer, requires_confirmation=False), some)
    assert unconfirmed.reference < measure_fidelity(explainer, some).reference - 0.02


def test_the_strongest_confirmed_code_is_named_first(explainer, some, explained):
    sums = by_code(explainer, some)
    codes = list(sums)
    strongest = np.array(codes)[np.argmax([sums[code] for code in codes], axis=0)]
    first = explained.filter(
        pc.and_(pc.equal(explained["strength_rank"], 1), pc.equal(explained["effect"], "raises"))
    )
    named = np.array(first["code"].to_pylist())
    assert len(named) == some.num_rows
    assert np.mean(named == strongest) > 0.8  # of the rest, the strongest code was not confirmed


def test_high_and_low_follow_the_decile_in_the_peer_group(some, explained):
    seen = 0
    for row in explained.to_pylist():
        if row["decile"] is None:
            continue
        deciles = {"low": range(1, 5), "usual": range(3, 9), "high": range(7, 11)}
        deciles["together"] = range(1, 11)
        assert row["decile"] in deciles[row["level"]], row
        seen += 1
    assert seen > 500
    scores = np.array(some["bureau_score"].to_pylist(), dtype=float)
    about = [row for row in explained.to_pylist() if row["feature"] == "bureau_score"]
    for level, ends in (("high", (600, 900)), ("low", (300, 580))):
        rows = [row for row in about if row["level"] == level]
        assert rows
        assert all(f"score is {level}" in row["person_en"] for row in rows)
        assert all(ends[0] <= scores[row["row"]] <= ends[1] for row in rows)


def test_a_missing_value_is_called_unknown(explainer, some):
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


def test_every_reason_has_text_for_both_readers_in_both_languages(explained):
    for row in explained.to_pylist():
        assert set(row) == set(SCHEMA.names)
        assert row["person_en"].isascii()
        for text in (row["person_zh"], row["analyst_zh"]):
            assert any("\u4e00" <= mark <= "\u9fff" for mark in text)
        for text in (row["analyst_en"], row["analyst_zh"]):
            assert text.startswith(row["code"])
            assert row["feature"] in text
            assert f"{row['log_odds']:+.3f}" in text
            assert f"{row['points']:+.1f}" in text


def test_the_text_never_contains_the_value(some, explained):
    incomes = some["income_monthly"].to_pylist()
    about = [row for row in explained.to_pylist() if row["feature"] == "income_monthly"]
    assert about
    for row in about:
        assert f"{incomes[row['row']]:,.6g}" not in row["person_en"]
        assert row["decile"] is None or "decile" in row["analyst_en"]


def test_every_number_of_a_model_has_phrases_for_high_and_low():
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


@pytest.mark.parametrize("batch_rows", [97, 10_000])
def test_batches_and_order_change_no_reason(explainer, some, explained, monkeypatch, batch_rows):
    monkeypatch.setattr(reasons, "BATCH_ROWS", batch_rows)
    assert explainer.explain(some).equals(explained)
    order = np.random.default_rng(5).permutation(some.num_rows)
    permuted = explainer.explain(some.take(pa.array(order)))
    back = permuted.set_column(0, SCHEMA.field("row"), pa.array(order[permuted["row"].to_numpy()]))
    keys = [("row", "ascending"), ("effect", "descending"), ("strength_rank", "ascending")]
    assert back.sort_by(keys).equals(explained.combine_chunks().sort_by(keys))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_reason(explainer, some, explained, threads):
    assert replace(explainer, threads=threads).explain(some).equals(explained)


def test_the_reason_of_a_stated_prior_is_its_band(model_set, some):
    prior = replace(model_set, estimators={"risk": Prior("risk", "too few outcomes")})
    rows = prior.explainer("risk").explain(some, ["raises"]).to_pylist()
    assert len(rows) == some.num_rows
    assert {row["code"] for row in rows} == {"BUREAU_SCORE"}
    assert all("by a stated prior" in row["analyst_en"] for row in rows)


def test_the_reference_profile_is_stored_in_the_registry(market, model_set, pairs):
    profile = registry.load_reference_profile(registry.set_folder(market, AS_OF) / "approval")
    assert profile is not None
    assert ReferenceProfile.from_dict(profile.as_dict()).as_dict() == profile.as_dict()
    assert {ALL, "consumer/CNY", "business/CNY"} <= set(profile.deciles)
    names = model_set.estimators["approval"].features
    revenue = names.index("revenue_annual")
    assert np.isnan(profile.deciles["consumer/CNY"][revenue]).all()
    reference = profile.reference_values(profile.peer_groups(pairs))
    assert reference.shape == (pairs.num_rows, len(names))
