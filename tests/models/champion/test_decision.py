"""A champion is replaced by evidence only, and whoever was refused is told why."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from models.champion import decision as challenge
from models.champion.decision import Seat
from models.champion.evaluation import Contest
from models.champion.evaluation_window import of_labels
from models.champion.registry import Champion, Entry
from models.params import Features
from models.scoring.estimators import Prior, Trained
from models.train_models import fit_or_prior
from pipelines.core.statistics import sigmoid
from tests.helpers.leaks import allow_leaks

FEATURES = Features(numbers=("bureau_score", "amount"))
FIRST, AS_OF = date(2026, 1, 1), date(2026, 4, 11)
WEEK_BEFORE = AS_OF - timedelta(days=14)
DAILY = 60

refit = partial(fit_or_prior, "approval", features=FEATURES)


def examples(*, turns_on: date | None = None) -> pa.Table:
    """Return labelled leads of 100 days, known a day later; a high score is good.

    Args:
        turns_on: From this date on a high amount is good, and the score says nothing.
    """
    rows = DAILY * (AS_OF - FIRST).days
    chance = np.random.default_rng(7)
    score, amount = chance.uniform(400, 800, rows), chance.uniform(1_000, 50_000, rows)
    days = np.array([FIRST + timedelta(days=row // DAILY) for row in range(rows)])
    pull = (score - 600) / 40
    if turns_on:
        pull = np.where(days >= turns_on, (amount - 25_000) / 4_000, pull)
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
            "label": (chance.uniform(size=rows) < sigmoid(pull)).astype(np.float64),
        }
    )


def known_before(table: pa.Table, day: date) -> pa.Table:
    return table.filter(pc.less(table["label_known_on"], pa.scalar(day)))


def with_shuffled_labels(table: pa.Table, before: date = AS_OF) -> pa.Table:
    """Return `table` with the labels known before a day dealt out anew among themselves."""
    labels = table["label"].to_numpy().copy()
    early = pc.less(table["label_known_on"], pa.scalar(before)).to_numpy()
    labels[early] = np.random.default_rng(1).permutation(labels[early])
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels))


def champion_of(table: pa.Table, as_of: date = WEEK_BEFORE) -> Champion:
    return Champion(refit(known_before(table, as_of)), as_of, as_of, code_version=None)


def settled(champion: Champion, table: pa.Table, as_of: date = AS_OF) -> Seat:
    return challenge.settle(contest(champion, table, as_of=as_of))


def contest(
    champion: Champion, table: pa.Table, *, as_of: date = AS_OF, recipe=refit, worth=None
) -> Contest:
    known = known_before(table, as_of)
    newly = partial(of_labels, champion, known, as_of)
    return Contest("approval", champion, recipe(known), as_of, newly, recipe, worth)


@pytest.fixture(scope="module", autouse=True)
def world_in_which_one_column_decides() -> Iterator[None]:
    """In this world one column alone says nearly everything, which the leak check would refuse."""
    with allow_leaks(FEATURES.numbers, FIRST, AS_OF):
        yield


@pytest.fixture(scope="module")
def champion() -> Champion:
    found = champion_of(examples())
    assert found.entry.facts["figures"]["auc_low"] > 0.85
    return found


def test_a_challenger_that_knows_more_and_is_no_worse_is_promoted(champion):
    seat = settled(champion, examples())
    assert seat.decision["decision"] == "promoted"
    assert seat.refused is None
    assert seat.entry.facts["trained_as_of"] == f"{AS_OF}"
    compared = seat.decision["compared"]
    assert compared["rows"] == 14 * DAILY
    assert set(compared["figures"]) == {"auc", "log_loss", "ece", "value", "bias"}
    for figure in compared["figures"].values():
        assert figure["low"] <= figure["difference"] <= figure["high"]
    assert "840 outcomes" in seat.decision["reason"]


@pytest.mark.parametrize(
    ("shuffled_before", "why"),
    [
        # Of the last days, whose labels are true, it learns something, but less than the champion.
        (WEEK_BEFORE, "worse beyond chance: log loss"),
        (AS_OF, "cannot be told from chance"),
    ],
)
def test_a_challenger_trained_on_shuffled_labels_is_refused(champion, shuffled_before, why):
    seat = settled(champion, with_shuffled_labels(examples(), before=shuffled_before))
    assert seat.decision["decision"] == "kept"
    assert why in seat.decision["reason"]
    assert seat.entry.estimator is champion.entry.estimator
    assert seat.entry.facts["trained_as_of"] == f"{WEEK_BEFORE}"
    assert seat.refused is not None


def test_labels_that_are_mostly_shuffled_lose_against_the_champion_beyond_chance(champion):
    table, kept_apart = examples(), WEEK_BEFORE - timedelta(days=25)
    seat = settled(champion, with_shuffled_labels(table, before=kept_apart))
    assert seat.decision["decision"] == "kept"
    assert "worse beyond chance: log loss" in seat.decision["reason"]
    loss = seat.decision["compared"]["figures"]["log_loss"]
    assert loss["low"] > 0
    assert seat.refused is not None


def test_a_challenger_trained_on_stale_data_is_refused(champion):
    stale = known_before(examples(), WEEK_BEFORE - timedelta(days=3))
    seat = settled(champion, stale)
    assert seat.decision["decision"] == "kept"
    assert "its data is stale" in seat.decision["reason"]


def test_a_recipe_that_looks_at_less_loses_against_the_champion(champion):
    table = examples()
    blind = partial(fit_or_prior, "approval", features=Features(numbers=("amount", "age_years")))
    hint = 0.05 * table["label"].to_numpy()  # enough not to be chance, far from the score
    noise = np.random.default_rng(3).uniform(size=table.num_rows) + hint
    table = table.append_column("age_years", pa.array(noise))
    seat = challenge.settle(contest(champion, table, recipe=blind))
    assert seat.decision["decision"] == "kept"
    auc = seat.decision["compared"]["figures"]["auc"]
    assert auc["high"] < -0.1
    assert "worse beyond chance: AUC" in seat.decision["reason"]


def test_where_the_world_has_turned_the_newer_model_is_promoted():
    """The champion is old: of the last 28 days it knows none, its successor those before."""
    turned = examples(turns_on=FIRST + timedelta(days=55))
    old = champion_of(turned, FIRST + timedelta(days=50))
    assert old.entry.facts["source"] == "model"
    seat = settled(old, turned)
    assert seat.decision["decision"] == "promoted"
    auc = seat.decision["compared"]["figures"]["auc"]
    assert auc["champion"] < 0.6
    assert auc["challenger"] > 0.6
    assert auc["low"] > 0


@pytest.mark.parametrize(("times_fewer", "decision"), [(1, "kept"), (2, "promoted")])
def test_with_too_few_outcomes_since_only_an_outgrown_champion_gives_way(
    champion, times_fewer, decision
):
    rows = champion.entry.facts["rows"] // times_fewer
    facts = champion.entry.facts | {"rows": rows}
    day_before = AS_OF - timedelta(days=1)
    champion = Champion(Entry(champion.entry.estimator, facts), day_before, day_before, None)
    seat = settled(champion, examples())
    assert seat.decision["decision"] == decision
    assert "too few outcomes are known since" in seat.decision["reason"]


def test_a_prior_gives_way_to_a_model_and_never_the_other_way_round(champion):
    prior = Entry(Prior("approval", "too few"), {"source": "prior", "rows": 3, "reason": "too few"})
    of_prior = Champion(prior, WEEK_BEFORE, WEEK_BEFORE, None)
    seat = settled(of_prior, examples())
    assert isinstance(seat.entry.estimator, Trained)
    assert seat.decision["decision"] == "promoted"

    few = examples().slice(0, 100)
    seat = settled(champion, few)
    assert isinstance(seat.entry.estimator, Trained)
    assert "no model could be trained" in seat.decision["reason"]
    seat = settled(of_prior, few)
    assert "min_rows" in seat.entry.facts["reason"]
    assert seat.entry.facts["champion_since"] == f"{WEEK_BEFORE}"


def test_a_young_champion_is_not_asked_about_leads_that_it_knew(champion):
    """Decisions counted after a day; now they wait for a week and some seem to be new."""
    table = examples()
    waiting = pa.array([day + timedelta(days=7) for day in table["business_date"].to_pylist()])
    waits = table.set_column(table.column_names.index("label_known_on"), "label_known_on", waiting)
    seat = settled(champion, waits)
    last = date.fromisoformat(champion.entry.facts["last_lead_on"])
    newest = AS_OF - timedelta(days=8)
    assert last < newest
    assert seat.decision["compared"]["rows"] == DAILY * (newest - last).days


def test_the_same_outcomes_give_the_same_decision_to_the_last_digit(champion):
    once, again = (settled(champion, examples()).decision for _ in range(2))
    assert once == again


def test_a_challenger_that_would_lose_by_the_log_of_trials_is_refused_and_told_so():
    table = examples()
    champion = champion_of(table)
    asked: list[date] = []

    def worth(decision: str) -> Seat:
        def told(_: object, begins: date) -> tuple[str, str]:
            asked.append(begins)
            return decision, "its gain is -5"

        return challenge.settle(contest(champion, table, worth=told))

    kept, promoted = worth("refused"), worth("abstained")
    assert asked == [WEEK_BEFORE, WEEK_BEFORE]
    assert (kept.decision["decision"], promoted.decision["decision"]) == ("kept", "promoted")
    assert kept.decision["by_log"] == {"decision": "refused", "reason": "its gain is -5"}
    assert "by the log of trials refused: its gain is -5" in kept.decision["reason"]
    assert "by the log of trials abstained" in promoted.decision["reason"]
