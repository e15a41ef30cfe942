"""Models of risk meet on what became known of all loans at risk, and on nothing known before."""

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
from models.champion import decision as challenge
from models.champion import registry
from models.champion.decision import Seat
from models.champion.evaluation import Contest
from models.champion.evaluation_window import Stretch, learned_from, newly_known
from models.champion.registry import Champion, Entry
from models.params import Features, params
from models.scoring.estimators import Prior
from models.train_models import fit_or_prior
from models.training.dataset import examples, told_until
from pipelines.core.publishing import code_version, read_manifest
from pipelines.core.settings import Settings
from pipelines.training.retrain_triggers import fired
from tests.helpers.leaks import allow_leaks
from tests.helpers.loan_book import DAY, FIRST, Book, book, published, true_pd

AS_OF = date(2026, 11, 16)
TRAINED = AS_OF - timedelta(days=91)
TOLD_BEFORE = TRAINED - timedelta(days=params().decision_maturity_days)
RISK = params().features_of("risk")
BLIND = Features(numbers=("amount",))


@pytest.fixture(scope="module", autouse=True)
def two_columns_may_decide() -> Iterator[None]:
    """In this book two columns say all there is to know, which the leak check would refuse."""
    with allow_leaks(("bureau_score", "amount"), FIRST, DAY):
        yield


def recipe(features: Features = RISK) -> partial[Entry]:
    return partial(fit_or_prior, "risk", features=features)


def champion_of(settings: Settings, features: Features = RISK, code: str | None = None) -> Champion:
    """Return the model of what was known at `TRAINED`, made by `code`; None: that is not known."""
    entry = recipe(features)(learned_from(settings, DAY, "risk", as_of=TRAINED))
    assert entry.facts["source"] == "model"
    return Champion(entry, TRAINED, TRAINED, code)


def since_trained(settings: Settings, champion: Champion) -> Stretch:
    return newly_known(settings, DAY, "risk", champion, as_of=AS_OF)


def settled(
    settings: Settings,
    champion: Champion,
    features: Features = RISK,
    *,
    since_then: Settings | None = None,
) -> Seat:
    """Return who serves; `since_then` is where something else became known since the champion."""
    challenger = recipe(features)(learned_from(settings, DAY, "risk", as_of=AS_OF))
    newly = partial(since_trained, since_then or settings, champion)
    return challenge.settle(Contest("risk", champion, challenger, AS_OF, newly, recipe(features)))


def leads_of(table: pa.Table, which: pa.ChunkedArray | None = None) -> set[str]:
    return set((table.filter(which) if which is not None else table)["lead_id"].to_pylist())


@pytest.fixture(scope="module")
def loans() -> Book:
    return book()


@pytest.fixture(scope="module")
def settings(loans: Book, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return published(tmp_path_factory.mktemp("book"), loans)


@pytest.fixture(scope="module")
def champion(settings: Settings) -> Champion:
    return champion_of(settings)


def test_defaults_of_loans_that_the_champion_knew_as_sound_decide(
    loans, settings, champion, tmp_path
):
    """Without them, what is left is too little; loans that began to count since then show few."""
    knew = examples(settings, DAY, "defaulted", as_of=TRAINED)
    sound = leads_of(knew) - leads_of(knew, pc.equal(knew["label"], 1.0))
    on = since_trained(settings, champion)
    shown = leads_of(on.compared, pc.greater(on.compared["label"], 0.0))
    assert len(shown & sound) > 3 * len(shown - sound) > 0

    seat = settled(settings, champion)
    assert seat.decision["decision"] == "promoted"
    assert seat.decision["compared"]["happened"] > 100

    numbers = {int(lead.removeprefix("lead-")) for lead in shown & sound}
    others = loans.without_arrears(np.isin(np.arange(len(loans.day)), list(numbers)))
    seat = settled(settings, champion, since_then=published(tmp_path, others))
    assert seat.decision["decision"] == "kept"
    assert "too few outcomes are known since 2026-08-17" in seat.decision["reason"]


def test_a_challenger_that_learned_from_shuffled_defaults_is_refused_and_told_why(
    loans, settings, champion, tmp_path
):
    """What came since then is true, so that its own figures hold; the champion knew better."""
    shuffled = published(tmp_path, loans.shuffled(before=TOLD_BEFORE))
    seat = settled(shuffled, champion)
    assert seat.decision["decision"] == "kept"
    assert "worse beyond chance: AUC" in seat.decision["reason"]
    assert seat.decision["compared"]["figures"]["auc"]["high"] < 0
    assert seat.refused is not None
    assert seat.entry.estimator is champion.entry.estimator


def test_a_challenger_that_is_better_is_promoted(settings):
    seat = settled(settings, champion_of(settings, BLIND))
    assert seat.decision["decision"] == "promoted"
    figures = seat.decision["compared"]["figures"]
    assert figures["auc"]["low"] > 0
    assert figures["log_loss"]["high"] < 0


@pytest.mark.parametrize(("features", "decision"), [(RISK, "promoted"), (BLIND, "kept")])
def test_a_stated_prior_gives_way_unless_later_leads_show_that_it_knows_better(
    settings, features, decision
):
    facts = {"source": "prior", "rows": 3, "reason": "too few"}
    prior = Champion(Entry(Prior("risk", "too few"), facts), TRAINED, TRAINED, None)
    seat = settled(settings, prior, features)
    assert seat.decision["decision"] == decision
    reason = "worse beyond chance: AUC" if decision == "kept" else "gives way to a model that holds"
    assert reason in seat.decision["reason"]


def test_the_same_recipe_and_past_are_the_champion_again(settings, champion):
    seat = settled(settings, replace(champion, code_version=code_version()))
    assert seat.decision["compared"]["same_recipe_and_past"]
    assert seat.decision["decision"] == "promoted"


def test_nothing_that_the_champion_knew_is_in_the_comparison(loans, settings, champion, tmp_path):
    """No arrears of before are in it; had there been none, it would ask of the rest the same."""
    on = since_trained(settings, champion)
    begun = told_until(settings, TRAINED)
    outcomes = pq.read_table(settings.day_folder(settings.marts, DAY) / "outcomes.parquet")
    behind = outcomes.filter(pc.starts_with(outcomes["event"], "overdue"))
    before = leads_of(behind, pc.less(behind["event_at"], pa.scalar(begun)))
    assert len(before) > 100
    assert not before & leads_of(on.compared)
    shown = on.compared.filter(pc.greater(on.compared["label"], 0.0))
    assert leads_of(shown) <= leads_of(behind)

    early = loans.behind < (TOLD_BEFORE - FIRST).days
    other = since_trained(published(tmp_path, loans.without_arrears(early)), champion).compared
    assert leads_of(other) - before == leads_of(on.compared)
    assert leads_of(other, pc.greater(other["label"], 0.0)) == leads_of(shown)


def test_the_recipe_is_tried_on_what_was_known_when_the_stretch_began(settings, champion):
    """Those who got no loan included, as the champion learned from it."""
    past = since_trained(settings, champion).past
    assert past.equals(learned_from(settings, DAY, "risk", as_of=TRAINED))
    assert past.num_rows == champion.entry.facts["rows"]
    assert pc.any(past["is_inferred"]).as_py()
    assert pc.max(past["label_known_on"]).as_py() < TRAINED


def test_an_old_champion_is_asked_about_half_a_year(settings, champion):
    old = replace(champion, trained_as_of=AS_OF - timedelta(days=300))
    on = since_trained(settings, old)
    assert on.begins == AS_OF - timedelta(days=182)
    assert on.happened > since_trained(settings, champion).happened


def test_more_loans_than_are_compared_are_drawn_evenly_whatever_became_of_them(
    settings, champion, monkeypatch
):
    whole = since_trained(settings, champion)
    fewer = params().challenge.model_copy(update={"most_loans": 2_000})
    changed = params().model_copy(update={"challenge": fewer})
    monkeypatch.setattr("models.champion.evaluation_window.params", lambda: changed)
    some = since_trained(settings, champion)
    assert some.compared.num_rows == 2_000
    rate, whole_rate = (on.happened / on.compared.num_rows for on in (some, whole))
    assert rate == pytest.approx(whole_rate, rel=0.3)
    shown = dict(zip(whole.compared["lead_id"].to_pylist(), whole.exposure.end, strict=True))
    assert [shown[lead] for lead in some.compared["lead_id"].to_pylist()] == list(some.exposure.end)


def test_probabilities_that_were_right_are_right_for_what_could_show(settings, champion):
    """The truth of each loan, put on the footing of the stretch, foretells how many fell behind."""
    on = since_trained(settings, champion)
    truth = on.exposure.chance(
        true_pd(*(on.compared[name].to_numpy() for name in ("bureau_score", "amount")))
    )
    assert truth.sum() == pytest.approx(on.happened, abs=2 * np.sqrt(on.happened))


def test_two_trainings_a_quarter_apart_meet_on_the_loans_at_risk_between_them(loans, tmp_path):
    settings = published(tmp_path, loans)
    for as_of in (TRAINED, AS_OF):
        train_models.train(settings, DAY, as_of=as_of)
    decided = read_manifest(registry.folder(settings, AS_OF))["decisions"]["risk"]
    assert decided["champion"] == decided["compared"]["known_since"] == f"{TRAINED}"
    assert decided["compared"]["same_recipe_and_past"]
    assert 0 < decided["compared"]["could_show"] < 0.5
    assert "(it happened to " in decided["reason"]


@pytest.mark.parametrize("times", [1.0, 2.0])
def test_more_defaults_than_the_champion_said_cause_a_training(tmp_path, times):
    settings = published(tmp_path, book(times=times, since=TOLD_BEFORE))
    entry = champion_of(settings).entry
    registry.save(settings, TRAINED, {"risk": Entry(entry.estimator, entry.facts)})
    because = fired(settings, DAY)
    if times == 1.0:
        assert because is None
        return
    assert because["trigger"] == "calibration"
    (figure,) = because["figures"]
    assert figure["model"] == "risk"
    assert figure["value"] < 0.8
