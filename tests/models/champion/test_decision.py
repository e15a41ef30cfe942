"""A challenger is promoted or rejected by evidence, with the reason."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.champion.decision import ChampionDecision, Evaluation, decide
from models.champion.evaluation_window import select_new_labels
from models.champion.registry import Champion, ModelVersion
from models.params import Features
from models.scoring.estimators import Prior, TrainedModel
from models.train_models import fit_or_use_prior
from pipelines.core.statistics import sigmoid
from tests.helpers.trained_market import fit_once
from tests.models.champion.leak_waivers import allow_leaks

FEATURES = Features(numbers=("bureau_score", "amount"))
FIRST, AS_OF = date(2026, 1, 1), date(2026, 4, 11)
WEEK_BEFORE = AS_OF - timedelta(days=14)
DAILY = 60

refit = partial(fit_once, "approval", features=FEATURES)


def examples(*, changes_on: date | None = None) -> pa.Table:
    """Return labelled leads of 100 days, known a day later; a high score is good.

    Args:
        changes_on: From this date on a high amount is good, and the score has no effect.
    """
    rows = DAILY * (AS_OF - FIRST).days
    random = np.random.default_rng(7)
    score, amount = random.uniform(400, 800, rows), random.uniform(1_000, 50_000, rows)
    days = np.array([FIRST + timedelta(days=row // DAILY) for row in range(rows)])
    log_odds = (score - 600) / 40
    if changes_on:
        log_odds = np.where(days >= changes_on, (amount - 25_000) / 4_000, log_odds)
    return pa.table(
        {
            "channel_id": ["search"] * rows,
            "lead_id": [f"{row // 2}" for row in range(rows)],  # each lead is shown to two
            "business_date": days,
            "label_known_on": [day + timedelta(days=1) for day in days],
            "segment": ["consumer"] * rows,
            "currency": ["CNY"] * rows,
            "amount": amount,
            "bureau_score": score,
            "label": (random.uniform(size=rows) < sigmoid(log_odds)).astype(np.float64),
        }
    )


def known_before(table: pa.Table, day: date) -> pa.Table:
    return table.filter(pc.less(table["label_known_on"], pa.scalar(day)))


def with_shuffled_labels(table: pa.Table, before: date = AS_OF) -> pa.Table:
    """Return `table` with the labels known before a day permuted."""
    labels = table["label"].to_numpy().copy()
    early = pc.less(table["label_known_on"], pa.scalar(before)).to_numpy()
    labels[early] = np.random.default_rng(1).permutation(labels[early])
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels))


def champion_of(table: pa.Table, as_of: date = WEEK_BEFORE) -> Champion:
    return Champion(refit(known_before(table, as_of)), as_of, as_of, code_version=None)


def decide_on(champion: Champion, table: pa.Table) -> ChampionDecision:
    return decide(evaluation(champion, table))


def evaluation(
    champion: Champion, table: pa.Table, *, recipe=refit, off_policy_test=None
) -> Evaluation:
    known = known_before(table, AS_OF)
    load_window = partial(select_new_labels, champion, known, AS_OF)
    return Evaluation(
        "approval", champion, recipe(known), AS_OF, load_window, recipe, off_policy_test
    )


@pytest.fixture(scope="module", autouse=True)
def leaks_allowed() -> Iterator[None]:
    """One column of this market predicts almost perfectly, which the leak check would refuse."""
    with allow_leaks(FEATURES.numbers, FIRST, AS_OF):
        yield


@pytest.fixture(scope="module")
def champion() -> Champion:
    version = champion_of(examples())
    assert version.version.metadata["figures"]["auc_low"] > 0.85
    return version


def test_a_challenger_with_newer_data_that_is_no_worse_is_promoted(champion):
    result = decide_on(champion, examples())
    assert result.record["decision"] == "promoted"
    assert result.rejected is None
    assert result.active.metadata["trained_as_of"] == f"{AS_OF}"
    comparison = result.record["evaluation"]
    assert comparison["rows"] == 14 * DAILY
    assert set(comparison["figures"]) == {"auc", "log_loss", "ece", "value", "bias"}
    for figure in comparison["figures"].values():
        assert figure["low"] <= figure["difference"] <= figure["high"]
    assert "840 outcomes" in result.record["reason"]


@pytest.mark.parametrize(
    ("shuffled_before", "reason"),
    [
        # The labels of the last days are true: it discriminates, but less than the champion.
        (WEEK_BEFORE, "worse beyond chance: log loss"),
        (AS_OF, "not above 0.5 beyond chance"),
    ],
)
def test_a_challenger_trained_on_shuffled_labels_is_rejected(champion, shuffled_before, reason):
    result = decide_on(champion, with_shuffled_labels(examples(), before=shuffled_before))
    assert result.record["decision"] == "retained"
    assert reason in result.record["reason"]
    assert result.active.estimator is champion.version.estimator
    assert result.active.metadata["trained_as_of"] == f"{WEEK_BEFORE}"
    assert result.rejected is not None


def test_a_challenger_trained_on_mostly_shuffled_labels_is_worse_beyond_chance(champion):
    shuffled = with_shuffled_labels(examples(), before=WEEK_BEFORE - timedelta(days=25))
    result = decide_on(champion, shuffled)
    assert result.record["decision"] == "retained"
    assert "worse beyond chance: log loss" in result.record["reason"]
    loss = result.record["evaluation"]["figures"]["log_loss"]
    assert loss["low"] > 0
    assert result.rejected is not None


def test_a_challenger_trained_on_stale_data_is_rejected(champion):
    stale = known_before(examples(), WEEK_BEFORE - timedelta(days=3))
    result = decide_on(champion, stale)
    assert result.record["decision"] == "retained"
    assert "its data is stale" in result.record["reason"]


def test_a_recipe_with_fewer_features_is_rejected(champion):
    table = examples()
    blind = partial(
        fit_or_use_prior, "approval", features=Features(numbers=("amount", "age_years"))
    )
    signal = 0.05 * table["label"].to_numpy()  # above chance, far below the score
    noise = np.random.default_rng(3).uniform(size=table.num_rows) + signal
    table = table.append_column("age_years", pa.array(noise))
    result = decide(evaluation(champion, table, recipe=blind))
    assert result.record["decision"] == "retained"
    auc = result.record["evaluation"]["figures"]["auc"]
    assert auc["high"] < -0.1
    assert "worse beyond chance: AUC" in result.record["reason"]


def test_after_a_change_of_the_market_the_newer_model_is_promoted():
    """The champion knows none of the last 28 days; the refitted recipe knows the days before."""
    changed = examples(changes_on=FIRST + timedelta(days=55))
    old = champion_of(changed, FIRST + timedelta(days=50))
    assert old.version.metadata["source"] == "model"
    result = decide_on(old, changed)
    assert result.record["decision"] == "promoted"
    auc = result.record["evaluation"]["figures"]["auc"]
    assert auc["champion"] < 0.6
    assert auc["challenger"] > 0.6
    assert auc["low"] > 0


@pytest.mark.parametrize(("times_fewer", "decision"), [(1, "retained"), (2, "promoted")])
def test_with_too_few_new_outcomes_only_a_champion_with_far_fewer_rows_is_replaced(
    champion, times_fewer, decision
):
    rows = champion.version.metadata["rows"] // times_fewer
    metadata = champion.version.metadata | {"rows": rows}
    day_before = AS_OF - timedelta(days=1)
    champion = Champion(
        ModelVersion(champion.version.estimator, metadata), day_before, day_before, None
    )
    result = decide_on(champion, examples())
    assert result.record["decision"] == decision
    assert "too few outcomes that are new to the champion" in result.record["reason"]


def test_a_prior_is_replaced_by_a_model_and_never_the_reverse(champion):
    metadata = {"source": "prior", "rows": 3, "reason": "too few"}
    prior = Champion(
        ModelVersion(Prior("approval", "too few"), metadata), WEEK_BEFORE, WEEK_BEFORE, None
    )
    result = decide_on(prior, examples())
    assert isinstance(result.active.estimator, TrainedModel)
    assert result.record["decision"] == "promoted"

    few = examples().slice(0, 100)
    result = decide_on(champion, few)
    assert isinstance(result.active.estimator, TrainedModel)
    assert "no model could be trained" in result.record["reason"]
    result = decide_on(prior, few)
    assert "min_rows" in result.active.metadata["reason"]
    assert result.active.metadata["champion_since"] == f"{WEEK_BEFORE}"


def test_a_young_champion_is_not_compared_on_leads_that_it_was_trained_on(champion):
    """Decisions counted after a day; now they count after a week, so that some seem new."""
    table = examples()
    waiting = pa.array([day + timedelta(days=7) for day in table["business_date"].to_pylist()])
    waits = table.set_column(table.column_names.index("label_known_on"), "label_known_on", waiting)
    result = decide_on(champion, waits)
    last = date.fromisoformat(champion.version.metadata["last_lead_on"])
    newest = AS_OF - timedelta(days=8)
    assert last < newest
    assert result.record["evaluation"]["rows"] == DAILY * (newest - last).days


def test_equal_outcomes_give_equal_decisions(champion):
    fit_again = partial(fit_or_use_prior, "approval", features=FEATURES)
    again = decide(evaluation(champion, examples(), recipe=fit_again))
    assert again.record == decide_on(champion, examples()).record


def test_a_challenger_that_loses_in_off_policy_evaluation_is_rejected():
    table = examples()
    champion = champion_of(table)
    window_starts: list[date] = []

    def decide_with(decision: str) -> ChampionDecision:
        def off_policy_test(_: object, starts_on: date) -> tuple[str, str]:
            window_starts.append(starts_on)
            return decision, "its gain is -5"

        return decide(evaluation(champion, table, off_policy_test=off_policy_test))

    retained, promoted = decide_with("rejected"), decide_with("abstained")
    assert window_starts == [WEEK_BEFORE, WEEK_BEFORE]
    decisions = (retained.record["decision"], promoted.record["decision"])
    assert decisions == ("retained", "promoted")
    assert retained.record["off_policy"] == {"decision": "rejected", "reason": "its gain is -5"}
    assert "exploration log rejected: its gain is -5" in retained.record["reason"]
    assert "exploration log abstained" in promoted.record["reason"]
