"""A model card tells people what the registry knows, in one page that asks for nothing."""

import re
from datetime import date
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from models.cards import card
from models.cards.text import card_words
from models.cards.text import limits as card_words_limits
from models.champion import model_artifacts, registry
from models.params import params
from models.validation.backtest import checked
from tests.models.conftest import AS_OF, DAY


@pytest.fixture(scope="module")
def folder(market):
    return registry.folder(market, AS_OF)


@pytest.fixture(scope="module")
def page(folder) -> str:
    return (folder / "approval" / card.NAME).read_text("utf-8")


class Links(HTMLParser):
    """Collects whatever a page points to, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_model_of_a_set_has_a_card_that_asks_for_nothing(folder):
    assert {path.parent.name for path in folder.glob(f"*/{card.NAME}")} == set(params().models)
    for path in folder.glob(f"*/{card.NAME}"):
        found = Links()
        found.feed(path.read_text("utf-8"))
        assert found.links == ["data:,"]
        assert found.open == []


def test_a_card_has_the_figures_with_intervals_the_data_and_the_features(page, market, folder):
    facts = registry.facts(market, AS_OF)["approval"]
    figures = facts["figures"]
    assert facts["data_sha256"] in page
    assert f"{facts['first_lead_on']} to {facts['last_lead_on']}" in page
    assert f"{figures['auc']:.4f}" in page
    assert f"{figures['auc_low']:.4f} to {figures['auc_high']:.4f}" in page
    known = model_artifacts.read(folder / "approval", "checked")
    assert known is not None
    for name in ("brier", "ece", "base_rate"):
        ends = known["figures"][name]
        assert ends["low"] <= figures[name] <= ends["high"]
        assert f"{ends['low']:.4f} to {ends['high']:.4f}" in page
    for feature in params().features_of("approval").names:
        assert f"<code>{feature}</code>" in page
    assert "Payments on debts over income" in page


def test_a_card_shows_calibration_stability_groups_and_the_fidelity_of_reasons(page, market):
    assert page.count('<svg class="plot"') == 2
    for name in ("segment", "channel_id", "region", "institution_kind", "age"):
        assert f"<h3>{name.replace('_', ' ')}</h3>" in page
    tried = registry.facts(market, AS_OF)["approval"]["reasons"]
    assert tried["reasons"] > 500
    assert tried["others"] >= 0.95
    assert f"{tried['others']:.1%}" in page


def test_no_protected_attribute_is_a_group_and_no_lead_is_named(page, folder, pairs):
    known = model_artifacts.read(folder / "approval", "checked")
    assert known is not None
    assert {"gender", "ethnicity"}.isdisjoint(known["groups"])
    assert not any(lead in page for lead in pairs["lead_id"].slice(0, 200).to_pylist())


def test_the_card_of_a_prior_says_why_and_what_is_assumed(folder, market):
    page = (folder / "risk" / card.NAME).read_text("utf-8")
    assert "stated prior" in page
    assert "min_rows" in page
    assert "<svg" not in page


def test_the_next_card_says_what_changed(market, tmp_path, page):
    assert "There is no version before" in page
    before = registry.folder(market, AS_OF)
    facts = dict(registry.facts(market, AS_OF)["approval"]) | {"rows": 5_000, "trees": 77}
    was = {
        "as_of": f"{AS_OF}",
        "facts": registry.facts(market, AS_OF)["approval"],
        "features": ["bureau_score", "a_dropped_one"],
    }
    decided = {"decision": "kept", "reason": "its AUC is worse beyond chance"}
    later = card.render(before / "approval", DAY, facts, before=was, decided=decided)
    assert "refused as challenger" in later
    assert "its AUC is worse beyond chance" in later
    assert re.search(r"Rows known</th><td>3,645</td><td>5,000", later)
    assert "a_dropped_one" in later


def test_a_leak_check_is_shown_when_there_was_one(folder, market):
    facts = dict(registry.facts(market, AS_OF)["approval"])
    facts["leaks"] = {"checked": 61, "flagged": ["days_overdue"], "allowed": []}
    page = card.render(folder / "approval", AS_OF, facts, before={}, decided={})
    assert "61 features tried; flagged: days_overdue; allowed by policy: none" in page


def test_a_card_that_is_there_stays(folder, market, tmp_path):
    kept = tmp_path / "approval"
    kept.mkdir()
    (kept / card.NAME).write_text("as it was")
    card.write_cards(tmp_path, AS_OF, {"approval": {}})
    assert (kept / card.NAME).read_text() == "as it was"


def test_every_model_and_every_label_has_its_words():
    assert set(card_words().models) == set(params().models)
    assert {spec.label for spec in params().models.values()} <= set(card_words().labels)


def test_parts_of_what_was_checked_add_up_to_the_whole(folder, market):
    known = model_artifacts.read(folder / "approval", "checked")
    assert known is not None
    rows = registry.facts(market, AS_OF)["approval"]["figures"]["rows"]
    assert sum(part["rows"] for part in known["bins"]) == rows
    assert sum(part["rows"] for part in known["groups"]["segment"]) == rows
    for part in (*known["bins"], *known["time"], *known["groups"]["age"]):
        assert part["low"] <= part["observed"] <= part["high"]


def test_right_probabilities_hold_within_their_intervals_and_wrong_ones_do_not():
    random = np.random.default_rng(8)
    chances = random.uniform(0.05, 0.95, 20_000)
    days = np.array([date(2026, 1, 1 + n % 28) for n in range(20_000)])
    table = pa.table(
        {
            "label": (random.random(20_000) < chances).astype(float),
            "business_date": days,
            "institution_id": [f"bank-{n % 40}" for n in range(20_000)],
            "segment": ["consumer"] * 20_000,
        }
    )
    right, wrong = checked(table, chances), checked(table, chances**2)
    within = [p["low"] <= p["predicted"] <= p["high"] for p in right["bins"]]
    assert sum(within) >= 8
    assert sum(p["low"] <= p["predicted"] <= p["high"] for p in wrong["bins"]) <= 2
    assert right["lenders"]["lenders"] == 40
    assert right["lenders"]["within"] >= 35
    assert wrong["lenders"]["within"] < 5
    assert right["time"][0]["name"] == "2025-12-29"


def test_a_card_says_how_far_lenders_may_be_off():
    facts = {"source": "model", "lenders_move": 0.25}
    said = " ".join(card_words_limits("approval", facts, None))
    assert "standard deviation of 0.50, which makes of 50% anything from 27% to 73%" in said
    assert "Lenders change" not in " ".join(card_words_limits("approval", {}, None))
