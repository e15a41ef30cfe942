"""A model card shows the content of the registry in one self-contained page."""

import json
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from markupsafe import escape

from models.cards import card
from models.champion import registry
from models.features.feature_definitions import describe_features
from models.params import params
from models.validation.backtest import run_backtest
from tests.helpers.trained_market import AS_OF, DAY


@pytest.fixture(scope="module")
def folder(market):
    return registry.set_folder(market, AS_OF)


@pytest.fixture(scope="module")
def page(folder) -> str:
    return (folder / "approval" / card.NAME).read_text("utf-8")


def read_validation(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "approval/validation.json").read_text("utf-8"))
    return content


class Links(HTMLParser):
    """Collects the links of a page, and checks that tags close."""

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


def test_every_model_of_a_set_has_a_self_contained_card(folder):
    assert {path.parent.name for path in folder.glob(f"*/{card.NAME}")} == set(params().models)
    for path in folder.glob(f"*/{card.NAME}"):
        links = Links()
        links.feed(path.read_text("utf-8"))
        assert links.links == ["data:,"]
        assert links.open == []


def test_a_card_has_the_figures_with_intervals_the_data_and_the_features(page, market, folder):
    metadata = registry.load_metadata(market, AS_OF)["approval"]
    figures = metadata["figures"]
    assert metadata["data_sha256"] in page
    assert f"{metadata['first_lead_on']} to {metadata['last_lead_on']}" in page
    assert f"{figures['auc']:.4f}" in page
    assert f"{figures['auc_low']:.4f} to {figures['auc_high']:.4f}" in page
    validation = read_validation(folder)
    for name in ("brier", "ece", "base_rate"):
        interval = validation["figures"][name]
        assert interval["low"] <= figures[name] <= interval["high"]
        assert f"{interval['low']:.4f} to {interval['high']:.4f}" in page
    for feature in params().model_features("approval").names:
        assert f"<code>{feature}</code>" in page
    meaning = describe_features(["debt_to_income"])["debt_to_income"]
    assert escape(meaning) in page


def test_a_card_shows_calibration_stability_groups_and_the_fidelity_of_reasons(page, market):
    assert page.count('<svg class="plot"') == 2
    for name in ("segment", "channel_id", "region", "institution_kind", "age"):
        assert f"<h3>{name.replace('_', ' ')}</h3>" in page
    fidelity = registry.load_metadata(market, AS_OF)["approval"]["reasons"]
    assert fidelity["reasons"] > 500
    assert fidelity["peer_values"] >= 0.95
    assert f"{fidelity['peer_values']:.1%}" in page


def test_no_protected_attribute_is_a_group_and_no_lead_is_in_the_card(page, folder, pairs):
    validation = read_validation(folder)
    assert {"gender", "ethnicity"}.isdisjoint(validation["groups"])
    assert not any(lead in page for lead in pairs["lead_id"].slice(0, 200).to_pylist())


def test_the_card_of_a_prior_has_its_reason_and_no_plot(folder, market):
    page = (folder / "risk" / card.NAME).read_text("utf-8")
    assert "stated prior" in page
    assert "min_rows" in page
    assert "<svg" not in page


def test_the_next_card_lists_the_changes(market, tmp_path, page):
    assert "There is no previous version" in page
    folder = registry.set_folder(market, AS_OF)
    metadata = registry.load_metadata(market, AS_OF)["approval"]
    changed = metadata | {"rows": 5_000, "trees": 77}
    previous = {
        "as_of": f"{AS_OF}",
        "metadata": metadata,
        "features": ["bureau_score", "a_removed_feature"],
    }
    decision = {"decision": "retained", "reason": "its AUC is worse beyond chance"}
    later = card.render(folder / "approval", DAY, changed, previous=previous, decision=decision)
    assert "rejected challenger" in later
    assert "its AUC is worse beyond chance" in later
    assert re.search(r"Labelled rows</th><td>3,645</td><td>5,000", later)
    assert "a_removed_feature" in later


def test_a_card_shows_the_leak_check(folder, market):
    metadata = dict(registry.load_metadata(market, AS_OF)["approval"])
    metadata["leaks"] = {"checked": 61, "flagged": ["days_overdue"], "allowed": []}
    page = card.render(folder / "approval", AS_OF, metadata, previous={}, decision={})
    assert "61 features tested; flagged: days_overdue; allowed by policy: none" in page


def test_a_card_says_whether_a_group_of_optional_features_was_kept(folder, market):
    metadata = dict(registry.load_metadata(market, AS_OF)["approval"])
    test = {"columns": ["a", "b"], "gain": 0.0115, "gain_low": 0.0079, "gain_high": 0.0152}
    test |= {"auc_without": 0.668, "auc_with": 0.732}
    for kept, word in ((True, "kept"), (False, "left out")):
        metadata["optional_features"] = {"partners": test | {"kept": kept}}
        page = card.render(folder / "approval", AS_OF, metadata, previous={}, decision={})
        assert (
            f"{word}: 2 columns; gain in log loss on leads left out 0.0115 (0.0079 to 0.0152"
            in page
        )
        assert "AUC 0.668 without and 0.732 with them" in page


def test_an_existing_card_is_not_rewritten(folder, market, tmp_path):
    retained = tmp_path / "approval"
    retained.mkdir()
    (retained / card.NAME).write_text("as it was")
    card.write_cards(tmp_path, AS_OF, {"approval": {}})
    assert (retained / card.NAME).read_text() == "as it was"


def test_every_model_and_label_has_its_text():
    assert set(card.load_text().models) == set(params().models)
    assert {spec.label for spec in params().models.values()} <= set(card.load_text().labels)


def test_the_parts_of_the_validation_add_up(folder, market):
    validation = read_validation(folder)
    rows = registry.load_metadata(market, AS_OF)["approval"]["figures"]["rows"]
    assert sum(part["rows"] for part in validation["bins"]) == rows
    assert sum(part["rows"] for part in validation["groups"]["segment"]) == rows
    for part in (*validation["bins"], *validation["time"], *validation["groups"]["age"]):
        assert part["low"] <= part["observed"] <= part["high"]


def test_only_true_probabilities_are_within_the_intervals():
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
    right, wrong = run_backtest(table, chances), run_backtest(table, chances**2)
    within = [p["low"] <= p["predicted"] <= p["high"] for p in right["bins"]]
    assert sum(within) >= 8
    assert sum(p["low"] <= p["predicted"] <= p["high"] for p in wrong["bins"]) <= 2
    assert right["lenders"]["lenders"] == 40
    assert right["lenders"]["within"] >= 35
    assert wrong["lenders"]["within"] < 5
    assert right["time"][0]["name"] == "2025-12-29"


def test_a_card_states_the_lender_drift():
    metadata = {"source": "model", "lender_drift": 0.25}
    limits = " ".join(card.list_limits("approval", metadata, None))
    assert "standard deviation of 0.50; a predicted 50% is then between 27% and 73%" in limits
    assert "Lender drift" not in " ".join(card.list_limits("approval", {}, None))
