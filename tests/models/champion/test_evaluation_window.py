"""Risk models are compared on outcomes of all loans at risk since the champion was trained."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models import train_models
from models.champion import registry
from models.champion.decision import ChampionDecision, Evaluation, decide
from models.champion.evaluation_window import (
    EvaluationWindow,
    load_evaluation_window,
    load_training_rows,
)
from models.champion.registry import Champion, ModelVersion
from models.params import Features, params
from models.scoring.estimators import Prior
from models.training.dataset import knowledge_cutoff, load_examples
from pipelines.core.publishing import code_version, read_manifest
from pipelines.core.settings import Settings
from pipelines.training.retrain_triggers import find_trigger
from tests.helpers.trained_market import fit_once
from tests.models.champion.leak_waivers import allow_leaks
from tests.models.champion.loan_book import (
    DAY,
    FIRST,
    LoanBook,
    make_loan_book,
    publish_loan_book,
    true_pd,
)

AS_OF = date(2026, 11, 16)
TRAINED = AS_OF - timedelta(days=91)
DECIDED_BEFORE = TRAINED - timedelta(days=params().decision_maturity_days)
RISK = params().model_features("risk")
BLIND = Features(numbers=("amount",))


@pytest.fixture(scope="module", autouse=True)
def leaks_allowed() -> Iterator[None]:
    """Two columns of this book determine the risk, which the leak check would refuse."""
    with allow_leaks(("bureau_score", "amount"), FIRST, DAY):
        yield


def recipe(features: Features = RISK) -> partial[ModelVersion]:
    return partial(fit_once, "risk", features=features)


def champion_of(settings: Settings, features: Features = RISK, code: str | None = None) -> Champion:
    """Return the model trained as of `TRAINED` by the code version `code`; None: not known."""
    version = recipe(features)(load_training_rows(settings, DAY, "risk", as_of=TRAINED))
    assert version.metadata["source"] == "model"
    return Champion(version, TRAINED, TRAINED, code)


def window_of(settings: Settings, champion: Champion) -> EvaluationWindow:
    return load_evaluation_window(settings, DAY, "risk", champion, as_of=AS_OF)


def decide_on(
    settings: Settings,
    champion: Champion,
    features: Features = RISK,
    *,
    window_from: Settings | None = None,
) -> ChampionDecision:
    """Return the decision; `window_from` has other outcomes since the champion was trained."""
    challenger = recipe(features)(load_training_rows(settings, DAY, "risk", as_of=AS_OF))
    load_window = partial(window_of, window_from or settings, champion)
    return decide(Evaluation("risk", champion, challenger, AS_OF, load_window, recipe(features)))


def leads_of(table: pa.Table, which: pa.ChunkedArray | None = None) -> set[str]:
    return set((table.filter(which) if which is not None else table)["lead_id"].to_pylist())


@pytest.fixture(scope="module")
def loans() -> LoanBook:
    return make_loan_book()


@pytest.fixture(scope="module")
def settings(loans: LoanBook, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return publish_loan_book(tmp_path_factory.mktemp("book"), loans)


@pytest.fixture(scope="module")
def champion(settings: Settings) -> Champion:
    return champion_of(settings)


def test_defaults_of_loans_that_were_sound_in_training_decide(loans, settings, champion, tmp_path):
    """Without them too few outcomes are left: loans that began to count later show few defaults."""
    known = load_examples(settings, DAY, "defaulted", as_of=TRAINED)
    sound = leads_of(known) - leads_of(known, pc.equal(known["label"], 1.0))
    window = window_of(settings, champion)
    shown = leads_of(window.rows, pc.greater(window.rows["label"], 0.0))
    assert len(shown & sound) > 3 * len(shown - sound) > 0

    result = decide_on(settings, champion)
    assert result.record["decision"] == "promoted"
    assert result.record["evaluation"]["positives"] > 100

    numbers = {int(lead.removeprefix("lead-")) for lead in shown & sound}
    others = loans.remove_arrears(np.isin(np.arange(len(loans.day)), list(numbers)))
    result = decide_on(settings, champion, window_from=publish_loan_book(tmp_path, others))
    assert result.record["decision"] == "retained"
    assert (
        "too few outcomes that are new to the champion are known since 2026-08-17"
        in result.record["reason"]
    )


def test_a_challenger_trained_on_shuffled_defaults_is_rejected(loans, settings, champion, tmp_path):
    """Later outcomes are true, so that its own figures pass; the champion is better."""
    shuffled = publish_loan_book(tmp_path, loans.shuffle_arrears(before=DECIDED_BEFORE))
    result = decide_on(shuffled, champion)
    assert result.record["decision"] == "retained"
    assert "worse beyond chance: AUC" in result.record["reason"]
    assert result.record["evaluation"]["figures"]["auc"]["high"] < 0
    assert result.rejected is not None
    assert result.active.estimator is champion.version.estimator


def test_a_better_challenger_is_promoted(settings):
    result = decide_on(settings, champion_of(settings, BLIND))
    assert result.record["decision"] == "promoted"
    figures = result.record["evaluation"]["figures"]
    assert figures["auc"]["low"] > 0
    assert figures["log_loss"]["high"] < 0


@pytest.mark.parametrize(("features", "decision"), [(RISK, "promoted"), (BLIND, "retained")])
def test_a_stated_prior_is_replaced_unless_it_is_better_on_later_leads(
    settings, features, decision
):
    facts = {"source": "prior", "rows": 3, "reason": "too few"}
    prior = Champion(ModelVersion(Prior("risk", "too few"), facts), TRAINED, TRAINED, None)
    result = decide_on(settings, prior, features)
    assert result.record["decision"] == decision
    reason = "worse beyond chance: AUC" if decision == "retained" else "a stated prior is replaced"
    assert reason in result.record["reason"]


def test_the_refit_of_the_same_recipe_and_rows_is_the_champion(settings, champion):
    result = decide_on(settings, replace(champion, code_version=code_version()))
    assert result.record["evaluation"]["is_refit_of_champion"]
    assert result.record["decision"] == "promoted"


def test_the_window_has_no_outcome_that_the_champion_was_trained_on(
    loans, settings, champion, tmp_path
):
    """No earlier arrears are in it; without them, the rest of the window would be the same."""
    window = window_of(settings, champion)
    cutoff = knowledge_cutoff(settings, TRAINED)
    outcomes = pq.read_table(settings.day_folder(settings.marts, DAY) / "outcomes.parquet")
    behind = outcomes.filter(pc.starts_with(outcomes["event"], "overdue"))
    before = leads_of(behind, pc.less(behind["event_at"], pa.scalar(cutoff)))
    assert len(before) > 100
    assert not before & leads_of(window.rows)
    shown = window.rows.filter(pc.greater(window.rows["label"], 0.0))
    assert leads_of(shown) <= leads_of(behind)

    early = loans.overdue < (DECIDED_BEFORE - FIRST).days
    other = window_of(publish_loan_book(tmp_path, loans.remove_arrears(early)), champion).rows
    assert leads_of(other) - before == leads_of(window.rows)
    assert leads_of(other, pc.greater(other["label"], 0.0)) == leads_of(shown)


def test_the_recipe_is_refitted_on_rows_known_before_the_window(settings, champion):
    """With the applicants who got no loan, as for the champion."""
    past = window_of(settings, champion).training_rows
    assert past.equals(load_training_rows(settings, DAY, "risk", as_of=TRAINED))
    assert past.num_rows == champion.version.metadata["rows"]
    assert pc.any(past["is_inferred"]).as_py()
    assert pc.max(past["label_known_on"]).as_py() < TRAINED


def test_the_window_of_an_old_champion_is_half_a_year(settings, champion):
    old = replace(champion, trained_as_of=AS_OF - timedelta(days=300))
    window = window_of(settings, old)
    assert window.starts_on == AS_OF - timedelta(days=182)
    assert window.positives > window_of(settings, champion).positives


def test_a_large_window_is_sampled_evenly_regardless_of_outcome(settings, champion, monkeypatch):
    whole = window_of(settings, champion)
    fewer = params().challenge.model_copy(update={"max_loans": 2_000})
    changed = params().model_copy(update={"challenge": fewer})
    monkeypatch.setattr("models.champion.evaluation_window.params", lambda: changed)
    some = window_of(settings, champion)
    assert some.rows.num_rows == 2_000
    rate, whole_rate = (window.positives / window.rows.num_rows for window in (some, whole))
    assert rate == pytest.approx(whole_rate, rel=0.3)
    shown = dict(zip(whole.rows["lead_id"].to_pylist(), whole.exposure.end, strict=True))
    assert [shown[lead] for lead in some.rows["lead_id"].to_pylist()] == list(some.exposure.end)


def test_true_probabilities_are_calibrated_for_the_observable_part(settings, champion):
    """The true probabilities, reduced to the window, predict how many fall behind."""
    window = window_of(settings, champion)
    truth = window.exposure.window_probability(
        true_pd(*(window.rows[name].to_numpy() for name in ("bureau_score", "amount")))
    )
    assert truth.sum() == pytest.approx(window.positives, abs=2 * np.sqrt(window.positives))


@pytest.mark.prove  # the tests above have the window, `test_train_models` the training
def test_two_trainings_a_quarter_apart_are_compared_on_the_loans_at_risk_between(loans, tmp_path):
    settings = publish_loan_book(tmp_path, loans)
    for as_of in (TRAINED, AS_OF):
        train_models.train(settings, DAY, as_of=as_of)
    decision = read_manifest(registry.set_folder(settings, AS_OF))["decisions"]["risk"]
    assert decision["champion"] == decision["evaluation"]["known_since"] == f"{TRAINED}"
    assert decision["evaluation"]["is_refit_of_champion"]
    assert 0 < decision["evaluation"]["observable_share"] < 0.5
    assert " positive)" in decision["reason"]


@pytest.mark.parametrize("times", [1.0, 2.0])
def test_more_defaults_than_predicted_trigger_a_training(tmp_path, times):
    settings = publish_loan_book(tmp_path, make_loan_book(times=times, since=DECIDED_BEFORE))
    version = champion_of(settings).version
    registry.save_set(
        settings, TRAINED, {"risk": ModelVersion(version.estimator, version.metadata)}
    )
    trigger = find_trigger(settings, DAY)
    if times == 1.0:
        assert trigger is None
        return
    assert trigger["trigger"] == "calibration"
    (figure,) = trigger["figures"]
    assert figure["model"] == "risk"
    assert figure["value"] < 0.8
