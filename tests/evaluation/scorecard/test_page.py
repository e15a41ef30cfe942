"""The page is one sound file that asks nothing of the network and tells the figures of the JSON."""

import json

import pytest

from pipelines.evaluation.scorecard import scorecard_page
from pipelines.evaluation.scorecard.breakdown import by_channel, by_institution
from pipelines.evaluation.scorecard.calibration import calibrations
from pipelines.evaluation.scorecard.lead_totals import together
from pipelines.evaluation.scorecard.page_data import first_and_last, stages, waterfall
from pipelines.evaluation.scorecard.run import day_by_truth
from tests.evaluation.scorecard.conftest import LEADS, Matched
from tests.evaluation.scorecard.markets import DAY
from tests.helpers.html import assert_self_contained, assert_well_formed, table_rows


@pytest.fixture(scope="module")
def day(matched: Matched):
    return day_by_truth(matched.settings, DAY)


@pytest.fixture(scope="module")
def made(matched: Matched):
    figures, path = scorecard_page(matched.settings, DAY, DAY)
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
    _, again = scorecard_page(matched.settings, DAY, DAY)
    assert again.read_text("utf-8") == made[2]


def test_nobody_is_on_the_page(matched, made):
    for column in ("lead_id", "phone", "full_name", "id_number"):
        values = [str(value) for value in matched.asked.columns[column] if str(value)]
        assert len(values) > LEADS / 2
        assert not [value for value in values if value in made[2]], column


@pytest.mark.parametrize("way", ["banyan", "broadcast"])
def test_parts_add_up_to_the_whole(day, way):
    cost, interest, funded = (
        day.by_policy[way][name].sum() for name in ("cost", "interest", "funded")
    )
    for parts in (by_channel([day], way), by_institution([day], way)):
        assert sum(part.cost for part in parts) == pytest.approx(cost)
        assert sum(part.interest for part in parts) == pytest.approx(interest)
        assert sum(part.funded for part in parts) == pytest.approx(funded)
        known = [part for part in parts if part.share is not None and part.funded > 0.5]
        assert len(known) > 1
        assert all(part.low < part.share < part.high for part in known)


@pytest.mark.parametrize("way", ["banyan", "broadcast"])
def test_a_funded_loan_costs_what_its_parts_add_up_to(day, way):
    steps = waterfall([day], way)
    spent = together([day])[way]["cost_per_funded"]
    assert len(steps) == 4
    assert min(step.cost for step in steps) >= 0
    assert sum(step.cost for step in steps) == pytest.approx(spent, rel=1e-5)
    assert steps[-1].start + steps[-1].cost == pytest.approx(spent, rel=1e-5)
    assert stages([day], way)[-1].cost == pytest.approx(spent, rel=1e-5)


def test_every_match_is_in_one_group_of_like_prediction(matched, day):
    found = calibrations(matched.settings, [DAY])
    assert [of.question.name for of in found] == ["approval", "take-up", "default"]
    for of in found:
        assert sum(row.matches for row in of.bins) == matched.lead.size
        assert of.known == 0
        assert all(0 < row.true < 1 for row in of.bins)


def test_weeks_are_compared_once_they_do_not_overlap(day):
    assert first_and_last([day] * 13) == {}
    weeks = first_and_last([day] * 14)
    assert weeks["first"] == weeks["last"]
    assert weeks["first"]["banyan"]["leads"] == 7 * LEADS
