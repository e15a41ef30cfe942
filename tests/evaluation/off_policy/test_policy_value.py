"""What another policy was worth is told from what was published and came of it, and gates it."""

import json
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
from pipelines.evaluation.off_policy.challenger_evidence import by_log
from pipelines.evaluation.off_policy.logged_policy import by_models, by_value, logged
from pipelines.evaluation.off_policy.policy_value import worth
from pipelines.matches import match_day
from tests.helpers.crowded_market import crowded_day, set_exploration_share
from tests.helpers.lake import write_feed
from tests.helpers.matched_day import DAY

NEXT = DAY + timedelta(days=1)
LATER = DAY + timedelta(days=9)

Row = dict[str, Any]


def rows(settings: Settings, root: str, name: str = "") -> list[Row]:
    folder = settings.day_folder(settings.home / root, DAY)
    found: list[Row] = pq.read_table(folder / f"{name or root}.parquet").to_pylist()
    return found


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a matched day with trials, of which outcomes came on the next day and later."""
    settings = crowded_day(tmp_path_factory.mktemp("logged"))
    with pytest.MonkeyPatch.context() as patch:
        set_exploration_share(1 / 3, patch)
        match_day.match(settings, DAY)
    draws = np.random.default_rng(5).random((2_000, 2))
    told: list[Row] = []
    for made, (asked, taken) in zip(rows(settings, "matches"), draws, strict=False):
        told += [outcome(settings, made, "approved" if asked < made["p_approve"] else "declined")]
        if asked < made["p_approve"] and taken < made["p_fund"]:
            told += [outcome(settings, made, "funded") | {"amount": 7_000.0, "currency": "CNY"}]
    write_feed(settings, "outcomes", NEXT, told)
    funded = next(row for row in told if row["event"] == "funded")
    late = {key: funded[key] for key in ("match_id", "institution_id", "product_id")}
    overdue = late | {"event": "overdue_90", "recorded_at": settings.day_start(LATER)}
    write_feed(settings, "outcomes", LATER, [overdue])
    return settings


def outcome(settings: Settings, made: Row, event: str) -> Row:
    named = {name: made[name] for name in ("match_id", "institution_id", "product_id")}
    hour = 10 if event == "funded" else 9
    return named | {"event": event, "recorded_at": settings.day_start(NEXT) + timedelta(hours=hour)}


def test_the_log_holds_every_scored_pair_with_its_logged_chance(market):
    found = logged(market, [DAY], by_value(policy.value()), LATER)
    log, matches, lots = found.log, rows(market, "matches"), rows(market, "matches", "trials")
    assert len(log.lead) == len(rows(market, "pairs"))
    assert log.is_made.sum() == len(matches)
    chances = [row["propensity"] for row in matches]
    chances += [row["propensity"] for row in lots if not row["is_made"]]
    assert sorted(log.propensity[log.propensity > 0]) == sorted(filter(None, chances))
    explored = sum(row["explored"] for row in matches)
    assert (log.is_made & ~found.planned).sum() == explored >= 10


def test_a_reward_is_what_the_outcomes_brought(market):
    """By hand, on loans as they were told: 7,000 lent, at the price and pd of the match."""
    value = policy.value().model_copy(update={"person_weight": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "value", lambda: value)
        log = logged(market, [DAY], by_value(value), NEXT).log
        aged = logged(market, [DAY], by_value(value), LATER).log
    products = {row["product_id"]: row for row in rows(market, "marts", "products")}
    leads = {row["lead_id"]: row for row in rows(market, "marts", "leads")}
    lake = market.day_folder(market.lake / "outcomes", NEXT) / "outcomes.parquet"
    events: dict[str, set[str]] = {}
    for row in pq.read_table(lake).to_pylist():
        events.setdefault(row["match_id"], set()).add(row["event"])
    expected = []
    for made in rows(market, "matches"):
        terms, happened = products[made["product_id"]], events[made["match_id"]]
        lent = 7_000.0 * ("funded" in happened)
        revenue = {
            "cpl": terms["price"],
            "cpa": terms["price"] * ("approved" in happened),
            "cps": terms["price"] * lent,
        }[terms["price_model"]]
        years = leads[made["lead_id"]]["term_months"] / 24
        margin = (made["suggested_apr"] - value.funding_cost) * years
        margin -= made["pd"] * value.loss_given_default
        expected.append(revenue + value.institution_weight * margin * lent)
    assert np.sort(log.reward[log.is_made]) == pytest.approx(np.sort(expected), abs=1e-3)
    assert log.reward[log.is_made].sum() > aged.reward[aged.is_made].sum()
    assert not log.reward[~log.is_made].any()


def test_the_policy_that_was_logged_gains_nothing_over_itself(market):
    same = by_value(policy.value())
    verdict, figures = worth(market, [DAY], same)
    assert figures["planned_by_both"] > 50
    assert (verdict.gain.worth, verdict.gain.low, verdict.gain.high) == (0, 0, 0)
    assert verdict.decision == "promoted"
    assert figures["logged"] == figures["challenger"]
    assert figures["logged"]["low"] < figures["logged"]["worth"] < figures["logged"]["high"]


def test_the_models_that_scored_the_day_plan_what_was_planned(market):
    found = logged(market, [DAY], by_models(lambda day: models.load(market, day)), LATER)
    assert (found.planned == found.judged).all()
    assert found.judged.sum() > 50


def test_the_contest_asks_days_that_are_old_enough_and_abstains_without_support(market):
    as_of, begins = DAY + timedelta(days=8), DAY + timedelta(days=7)
    present = models.load(market, DAY).estimators
    decision, reason = by_log(market, "approval", as_of, present["approval"], begins)
    assert (decision, "its gain is +0" in reason) == ("promoted", True)
    other = by_log(market, "approval", as_of, present["take_up"], begins)
    assert other[0] == "abstained"
    assert "least_support_of_models" in other[1]
    too_young = by_log(market, "approval", as_of - timedelta(days=1), present["approval"], begins)
    assert too_young == ("abstained", "no day with a log of trials is old enough")
    seen_before = by_log(market, "approval", as_of, present["approval"], begins + timedelta(days=1))
    assert seen_before[0] == "abstained"


def test_two_days_are_two_times_as_much_and_as_sure(market):
    same = by_value(policy.value())
    _, once = worth(market, [DAY], same)
    _, twice = worth(market, [DAY, DAY], same)
    assert twice["logged"]["worth"] == pytest.approx(2 * once["logged"]["worth"])
    spread = [each["logged"]["high"] - each["logged"]["low"] for each in (once, twice)]
    assert spread[1] == pytest.approx(np.sqrt(2) * spread[0])


def test_the_verb_refuses_a_policy_that_loses_and_says_by_how_much(market, tmp_path, capsys):
    present = (policy.FOLDER / "value.yml").read_text("utf-8")
    few = tmp_path / "few.yml"
    few.write_text(present.replace("minimum_value: 1.0", "minimum_value: 150.0"), "utf-8")
    asked = ["off-policy", "--home", f"{market.home}", "--from", f"{DAY}", "--to", f"{DAY}"]
    assert main([*asked, "--policy", f"{few}"]) == 1
    told = capsys.readouterr()
    figures = json.loads(told.out.splitlines()[-1])
    assert figures["decision"] == "refused"
    assert figures["gain"]["high"] < 0
    assert "it would lose" in told.err
    same = tmp_path / "same.yml"
    same.write_text(present, "utf-8")
    assert main([*asked, "--policy", f"{same}"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["decision"] == "promoted"


@pytest.mark.parametrize(
    ("option", "content", "code", "words"),
    [
        ("--policy", "revenue_weight: much", 2, "is no value policy"),
        ("--models", f"{NEXT}", 2, "may have learned"),
        ("--models", f"{DAY - timedelta(days=400)}", 1, "no models of"),
    ],
)
def test_what_cannot_be_judged_is_said(
    market, tmp_path: Path, capsys, option, content, code, words
):
    if option == "--policy":
        (tmp_path / "broken.yml").write_text(content, "utf-8")
        content = f"{tmp_path / 'broken.yml'}"
    asked = ["off-policy", "--home", f"{market.home}", "--from", f"{DAY}", "--to", f"{DAY}"]
    assert main([*asked, option, content]) == code
    assert words in capsys.readouterr().err
    assert not registry.is_published(market, NEXT)
