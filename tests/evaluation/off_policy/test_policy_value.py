"""The value of a challenger is estimated from the published log, and gates its use."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from expectations import policy
from models import model_set as models
from models.champion import registry
from pipelines.cli.app import main
from pipelines.core.settings import Settings
from pipelines.evaluation.off_policy.logged_policy import (
    build_model_challenger,
    build_value_challenger,
    load_log,
)
from pipelines.evaluation.off_policy.policy_value import evaluate_challenger, evaluate_model_on_log
from pipelines.matches import match_day
from tests.helpers.crowded_market import crowded_day, set_exploration_share
from tests.helpers.lake import write_counted_outcomes, write_feed
from tests.helpers.matched_day import DAY

NEXT = DAY + timedelta(days=1)
LATER = DAY + timedelta(days=9)

Row = dict[str, Any]
KEYS = ("channel_id", "lead_id", "institution_id", "product_id")


def rows(settings: Settings, root: str, name: str = "") -> list[Row]:
    folder = settings.day_folder(settings.home / root, DAY)
    found: list[Row] = pq.read_table(folder / f"{name or root}.parquet").to_pylist()
    return found


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a matched day with exploration, whose outcomes arrived on the next day and later."""
    settings = crowded_day(tmp_path_factory.mktemp("logged"))
    with pytest.MonkeyPatch.context() as patch:
        set_exploration_share(1 / 3, patch)
        match_day.match(settings, DAY)
    draws = np.random.default_rng(5).random((2_000, 2))
    outcomes: list[Row] = []
    for made, (asked, taken) in zip(rows(settings, "matches"), draws, strict=False):
        outcomes += [
            outcome(settings, made, "approved" if asked < made["p_approve"] else "declined")
        ]
        if asked < made["p_approve"] and taken < made["p_fund"]:
            outcomes += [outcome(settings, made, "funded") | {"amount": 7_000.0, "currency": "CNY"}]
    write_counted_outcomes(settings, NEXT, outcomes)
    funded = next(row for row in outcomes if row["event"] == "funded")
    overdue = funded | {"event": "overdue_90", "recorded_at": settings.day_start(LATER)}
    write_counted_outcomes(settings, LATER, [*outcomes, overdue])
    return settings


def outcome(settings: Settings, made: Row, event: str) -> Row:
    named = {name: made[name] for name in KEYS}
    hour = 10 if event == "funded" else 9
    return named | {"event": event, "recorded_at": settings.day_start(NEXT) + timedelta(hours=hour)}


def test_log_has_every_scored_pair_with_its_propensity(market):
    found = load_log(market, [DAY], build_value_challenger(policy.value()), LATER)
    log, matches, lots = (
        found.log,
        rows(market, "matches"),
        rows(market, "matches", "exploration_log"),
    )
    assert len(log.lead) == len(rows(market, "pairs"))
    assert log.is_made.sum() == len(matches)
    chances = [row["propensity"] for row in matches]
    chances += [row["propensity"] for row in lots if not row["is_made"]]
    assert sorted(log.propensity[log.propensity > 0]) == sorted(filter(None, chances))
    explored = sum(row["explored"] for row in matches)
    assert (log.is_made & ~found.planned).sum() == explored >= 10


def test_reward_is_the_realised_value(market):
    """Computed by hand: 7,000 lent, at the price and pd of the match."""
    value = policy.value().model_copy(update={"person_weight": 0.0, "platform_weight": 2.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "value", lambda: value)
        log = load_log(market, [DAY], build_value_challenger(value), NEXT).log
        aged = load_log(market, [DAY], build_value_challenger(value), LATER).log
    products = {row["product_id"]: row for row in rows(market, "marts", "products")}
    leads = {row["lead_id"]: row for row in rows(market, "marts", "leads")}
    known = market.day_folder(market.marts, NEXT) / "outcomes.parquet"
    events: dict[tuple[str, ...], set[str]] = {}
    for row in pq.read_table(known).to_pylist():
        events.setdefault(tuple(row[key] for key in KEYS), set()).add(row["event"])
    expected = []
    for made in rows(market, "matches"):
        terms, happened = products[made["product_id"]], events[tuple(made[key] for key in KEYS)]
        lent = 7_000.0 * ("funded" in happened)
        revenue = {
            "cpl": terms["price"],
            "cpa": terms["price"] * ("approved" in happened),
            "cps": terms["price"] * lent,
        }[terms["price_model"]]
        years = leads[made["lead_id"]]["term_months"] / 24
        margin = (made["suggested_apr"] - value.funding_cost) * years
        margin -= made["pd"] * value.loss_given_default
        expected.append(2 * revenue + margin * lent - value.application_cost - revenue)
    assert np.sort(log.reward[log.is_made]) == pytest.approx(np.sort(expected), abs=1e-3)
    assert log.reward[log.is_made].sum() > aged.reward[aged.is_made].sum()
    assert not log.reward[~log.is_made].any()


def test_an_outcome_that_does_not_count_has_no_reward(market, tmp_path):
    """A lender's invented loans are in the lake, and in no mart."""
    home = Settings(home=shutil.copytree(market.home, tmp_path / "home"))
    same = build_value_challenger(policy.value())
    before = load_log(home, [DAY], same, LATER).log
    invented = {"event": "funded", "amount": 90_000.0, "currency": "CNY", "history_kind": None}
    write_feed(
        home,
        "outcomes",
        NEXT,
        [
            {name: made[name] for name in (*KEYS, "match_id")}
            | invented
            | {"recorded_at": home.day_start(NEXT)}
            for made in rows(home, "matches")
        ],
    )
    assert (load_log(home, [DAY], same, LATER).log.reward == before.reward).all()


def test_logged_policy_gains_nothing_over_itself(market):
    same = build_value_challenger(policy.value())
    decision, figures = evaluate_challenger(market, [DAY], same)
    assert figures["planned_by_both"] > 50
    assert (decision.gain.value, decision.gain.low, decision.gain.high) == (0, 0, 0)
    assert decision.decision == "promoted"
    assert figures["logged"] == figures["challenger"]
    assert figures["logged"]["low"] < figures["logged"]["value"] < figures["logged"]["high"]


def test_models_of_the_day_plan_the_logged_plan(market):
    found = load_log(
        market, [DAY], build_model_challenger(lambda day: models.load(market, day)), LATER
    )
    assert (found.planned == found.challenger).all()
    assert found.challenger.sum() > 50


def test_model_evaluation_uses_mature_days_and_abstains_without_support(market):
    as_of, begins = DAY + timedelta(days=8), DAY + timedelta(days=7)
    present = models.load(market, DAY).estimators
    decision, reason = evaluate_model_on_log(market, "approval", as_of, present["approval"], begins)
    assert (decision, "its gain is +0" in reason) == ("promoted", True)
    other = evaluate_model_on_log(market, "approval", as_of, present["take_up"], begins)
    assert other[0] == "abstained"
    assert "min_model_support" in other[1]
    too_young = evaluate_model_on_log(
        market, "approval", as_of - timedelta(days=1), present["approval"], begins
    )
    assert too_young == ("abstained", "no day with an exploration log is old enough")
    seen_before = evaluate_model_on_log(
        market, "approval", as_of, present["approval"], begins + timedelta(days=1)
    )
    assert seen_before[0] == "abstained"


def test_two_equal_days_double_the_value_and_its_variance(market):
    same = build_value_challenger(policy.value())
    _, once = evaluate_challenger(market, [DAY], same)
    _, twice = evaluate_challenger(market, [DAY, DAY], same)
    assert twice["logged"]["value"] == pytest.approx(2 * once["logged"]["value"])
    spread = [each["logged"]["high"] - each["logged"]["low"] for each in (once, twice)]
    assert spread[1] == pytest.approx(np.sqrt(2) * spread[0])


def test_command_rejects_a_losing_policy_with_its_loss(market, tmp_path, capsys):
    present = (policy.FOLDER / "value.yml").read_text("utf-8")
    few = tmp_path / "few.yml"
    few.write_text(present.replace("minimum_value: 1.0", "minimum_value: 1500.0"), "utf-8")
    asked = ["off-policy", "--home", f"{market.home}", "--from", f"{DAY}", "--to", f"{DAY}"]
    assert main([*asked, "--policy", f"{few}"]) == 1
    output = capsys.readouterr()
    figures = json.loads(output.out.splitlines()[-1])
    assert figures["decision"] == "rejected"
    assert figures["gain"]["high"] < 0
    assert "it would lose" in output.err
    same = tmp_path / "same.yml"
    same.write_text(present, "utf-8")
    assert main([*asked, "--policy", f"{same}"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["decision"] == "promoted"


@pytest.mark.parametrize(
    ("option", "content", "code", "words"),
    [
        ("--policy", "platform_weight: much", 2, "is no value policy"),
        ("--models", f"{NEXT}", 2, "may have been trained"),
        ("--models", f"{DAY - timedelta(days=400)}", 1, "no models of"),
    ],
)
def test_invalid_challenger_is_an_error(
    market, tmp_path: Path, capsys, option, content, code, words
):
    if option == "--policy":
        (tmp_path / "broken.yml").write_text(content, "utf-8")
        content = f"{tmp_path / 'broken.yml'}"
    asked = ["off-policy", "--home", f"{market.home}", "--from", f"{DAY}", "--to", f"{DAY}"]
    assert main([*asked, option, content]) == code
    assert words in capsys.readouterr().err
    assert not registry.is_published(market, NEXT)
