"""The page is one well-formed file without network requests, with the figures of the JSON."""

import json

import pytest

from pipelines.evaluation.scorecard import publish_scorecard
from pipelines.evaluation.scorecard.calibration import measure_calibration
from pipelines.evaluation.scorecard.day_figures import combine_days
from pipelines.evaluation.scorecard.page import BY_DAY, daily_charts
from pipelines.evaluation.scorecard.page_data import (
    Retraining,
    ScoringModel,
    cost_by_channel,
    cost_by_institution,
    cost_waterfall,
    first_and_last_week,
    funnel,
)
from pipelines.evaluation.scorecard.run import day_by_truth
from tests.evaluation.scorecard.conftest import LEADS, Matched
from tests.evaluation.scorecard.hand_written_market import DAY
from tests.helpers.html import assert_self_contained, assert_well_formed, table_rows


@pytest.fixture(scope="module")
def day(matched: Matched):
    return day_by_truth(matched.settings, DAY)


@pytest.fixture(scope="module")
def made(matched: Matched):
    figures, path = publish_scorecard(matched.settings, DAY, DAY)
    return figures, path, path.read_text("utf-8")


def test_every_tag_is_closed_in_order(made):
    assert_well_formed(made[2])


def test_the_page_requests_nothing_from_the_network(made):
    assert_self_contained(made[2])


def test_the_table_of_the_page_holds_the_figures_of_the_json(made):
    figures, path, page = made
    assert json.loads((path.parent / "figures.json").read_text("utf-8"))["together"] == figures
    rows = table_rows(page)
    for name, label in (("leads", "Leads"), ("shown", "Offers shown")):
        expected = " | ".join([label, *(f"{figures[way][name]:,}" for way in figures)])
        assert expected in rows
    share = next(row for row in rows if row.startswith("Cost, share of yield"))
    for way in figures:
        assert f"{figures[way]['cost_share_of_yield']:.1%}" in share


def test_the_same_days_give_the_same_bytes(matched, made):
    _, again = publish_scorecard(matched.settings, DAY, DAY)
    assert again.read_text("utf-8") == made[2]


def test_no_person_is_on_the_page(matched, made):
    for column in ("lead_id", "phone", "full_name", "id_number"):
        values = [str(value) for value in matched.leads.columns[column] if str(value)]
        assert len(values) > LEADS / 2
        assert not [value for value in values if value in made[2]], column


@pytest.mark.parametrize("way", ["banyan", "broadcast"])
def test_parts_add_up_to_the_whole(day, way):
    cost, interest, funded = (
        day.by_policy[way][name].sum() for name in ("cost", "interest", "funded")
    )
    for parts in (cost_by_channel([day], way), cost_by_institution([day], way)):
        assert sum(part.cost for part in parts) == pytest.approx(cost)
        assert sum(part.interest for part in parts) == pytest.approx(interest)
        assert sum(part.funded for part in parts) == pytest.approx(funded)
        known = [part for part in parts if part.share is not None and part.funded > 0.5]
        assert len(known) > 1
        assert all(part.low < part.share < part.high for part in known)


@pytest.mark.parametrize("way", ["banyan", "broadcast"])
def test_the_parts_of_a_funded_loans_cost_add_up(day, way):
    steps = cost_waterfall([day], way)
    spent = combine_days([day])[way]["cost_per_funded"]
    assert len(steps) == 4
    assert min(step.cost for step in steps) >= 0
    assert sum(step.cost for step in steps) == pytest.approx(spent, rel=1e-5)
    assert steps[-1].start + steps[-1].cost == pytest.approx(spent, rel=1e-5)
    assert funnel([day], way)[-1].cost == pytest.approx(spent, rel=1e-5)


def test_every_match_is_in_one_calibration_bin(matched, day):
    found = measure_calibration(matched.settings, [DAY])
    assert [of.target for of in found] == ["approval", "take-up", "default"]
    for of in found:
        assert sum(row.matches for row in of.bins) == matched.lead.size
        assert of.known == 0
        assert all(0 < row.true < 1 for row in of.bins)


def test_weeks_are_compared_only_without_overlap(day):
    assert first_and_last_week([day] * 13) == {}
    weeks = first_and_last_week([day] * 14)
    assert weeks["first"] == weeks["last"]
    assert weeks["first"]["banyan"]["leads"] == 7 * LEADS


def test_a_chart_by_day_marks_new_models_and_has_a_band(day):
    figures = [combine_days([day])] * 3
    models = (ScoringModel("risk", is_prior=True, reason="", rows=0, auc=None),)
    retrainings = [Retraining(0, DAY, models), Retraining(2, DAY, models)]
    charts = daily_charts([DAY] * 3, figures, retrainings)
    assert [chart.name for chart in charts] == list(BY_DAY)
    for chart in charts:
        assert chart.drawing.count('class="mark"') == 1
        assert chart.drawing.count("<polygon") == 1
        assert chart.drawing.count("<polyline") == 4
