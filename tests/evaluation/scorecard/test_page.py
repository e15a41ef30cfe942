"""The page is one well-formed file without network requests, with the figures of the JSON."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.arrays import FloatArray
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import publish_scorecard
from pipelines.evaluation.scorecard.calibration import measure_calibration
from pipelines.evaluation.scorecard.day_figures import combine_days, figures_by_group
from pipelines.evaluation.scorecard.frontier import PLATFORM_WEIGHTS, compute_frontier
from pipelines.evaluation.scorecard.information import ESTIMATES, compute_value_of_information
from pipelines.evaluation.scorecard.lenders import measure_service
from pipelines.evaluation.scorecard.market import load_market
from pipelines.evaluation.scorecard.metric_labels import format_figure
from pipelines.evaluation.scorecard.page import BY_DAY, daily_charts
from pipelines.evaluation.scorecard.page_data import (
    Retraining,
    ScoringModel,
    cost_by_channel,
    cost_waterfall,
    first_and_last_week,
    funnel,
)
from pipelines.evaluation.scorecard.run import day_by_truth
from pipelines.evaluation.scorecard.truth import DayTruth
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
    channels, lenders = cost_by_channel([day], way), measure_service([day], way, "broadcast")
    for parts in (channels, lenders):
        assert sum(part.cost for part in parts) == pytest.approx(cost)
        assert sum(part.interest for part in parts) == pytest.approx(interest)
        assert sum(part.funded for part in parts) == pytest.approx(funded)
    known = [part for part in channels if part.share is not None and part.funded > 0.5]
    assert len(known) > 1
    assert all(part.low < part.share < part.high for part in known)
    fees = day.by_policy[way]["revenue"].sum()
    assert sum(lender.fees for lender in lenders) == pytest.approx(fees)


@pytest.mark.parametrize("way", ["banyan", "broadcast"])
def test_the_parts_of_a_funded_loans_cost_add_up(day, way):
    steps = cost_waterfall([day], way)
    spent = combine_days([day])[way]["cost_per_funded"]
    assert len(steps) == 4
    assert min(step.cost for step in steps) >= 0
    assert sum(step.cost for step in steps) == pytest.approx(spent, rel=1e-5)
    assert steps[-1].start + steps[-1].cost == pytest.approx(spent, rel=1e-5)
    assert funnel([day], way)[-1].cost == pytest.approx(spent, rel=1e-5)


def test_every_lender_is_in_the_table(day, made):
    _, page = made[1:]
    rows = [row.split(" | ")[0] for row in table_rows(page)]
    for name in day.lenders:
        assert rows.count(name) >= 1, name


def test_groups_of_leads_add_up_to_all(day):
    figures = combine_days([day])["banyan"]
    groups = figures_by_group([day])
    assert list(groups["Segment"]) == ["consumer", "business"]
    people = groups["Segment"]["consumer"]["banyan"]
    for name in ("leads", "shown", "funded", "surplus"):
        of_segments = [members["banyan"][name] for members in groups["Segment"].values()]
        assert sum(of_segments) == pytest.approx(figures[name], rel=1e-4), name
        by_income = [members["banyan"][name] for members in groups["Income of people"].values()]
        assert sum(by_income) == pytest.approx(people[name], rel=1e-4), name


def test_the_page_has_approval_funding_default_and_cost_of_businesses_on_their_own(day, made):
    _, path, page = made
    stated = json.loads((path.parent / "figures.json").read_text("utf-8"))["by_group"]
    assert stated == figures_by_group([day])
    segments = page[page.index("<h3>Segment</h3>") : page.index("<h3>Income of people</h3>")]
    rows = {row.split(" | ")[0]: row.split(" | ") for row in table_rows(segments)}
    assert rows[""][1:] == ["consumer", "business"]
    business = stated["Segment"]["business"]
    for name, label in (
        ("approval_rate", "Approval rate"),
        ("funded", "Funded"),
        ("default_rate", "Default rate"),
        ("cost_share_of_yield", "Cost, share of yield"),
    ):
        assert business["banyan"][name] != stated["Segment"]["consumer"]["banyan"][name]
        shown = rows[label][2]
        assert shown.startswith(format_figure(name, business["banyan"][name])), name
        assert shown.endswith(f"broadcast {format_figure(name, business['broadcast'][name])}"), name


def test_more_weight_of_a_side_brings_it_more_and_equal_weights_the_greatest_surplus(matched):
    frontier = compute_frontier(matched.settings, DAY, 9_000)
    by_platform = frontier.of_kind("platform")
    assert [point.weight for point in by_platform] == list(PLATFORM_WEIGHTS)
    fees = [point.fees for point in by_platform]
    assert fees == sorted(fees)
    assert fees[0] < fees[-1]
    equal = next(point for point in by_platform if point.weight == 1)
    assert equal.surplus > 0.95  # as the only offer of each lead it is the greatest
    assert max(by_platform, key=lambda point: point.surplus).weight in (0.5, 1, 2)
    for point in frontier.points:
        assert point.cost == 9_000
    banyan = frontier.of_kind("banyan")[0]
    figures = combine_days([day_by_truth(matched.settings, DAY)])["banyan"]
    assert banyan.fees == pytest.approx(figures["revenue"], rel=1e-4)
    assert banyan.loans == pytest.approx(figures["funded"], rel=1e-4)
    assert frontier.of_kind("broadcast")[0].least_ratio in (1, None)


def test_a_large_day_is_represented_by_some_leads(matched, monkeypatch):
    whole = compute_frontier(matched.settings, DAY, 9_000)
    monkeypatch.setattr("pipelines.evaluation.scorecard.frontier.MAX_PAIRS", 400)
    part = compute_frontier(matched.settings, DAY, 9_000)
    assert part.share < whole.share == 1
    assert part.points[0].cost == pytest.approx(9_000 * part.share)
    loans = [frontier.of_kind("broadcast")[0].loans for frontier in (part, whole)]
    assert loans[0] == pytest.approx(loans[1] * part.share, rel=0.6)


@pytest.fixture(scope="module")
def estimated(matched: Matched, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that publishes the truth as estimates, with columns of its own."""
    home = shutil.copytree(matched.settings.home, tmp_path_factory.mktemp("estimated") / "home")
    settings = Settings(home=home)
    with connect(settings) as connection:
        market = load_market(connection, settings, DAY)
    shown = DayTruth(market, matched.world).as_columns_show()
    columns = {
        name: table[name].take(pa.array(rows))
        for table, rows, name in (
            (market.leads, market.lead, "channel_id"),
            (market.leads, market.lead, "lead_id"),
            (market.products, market.product, "institution_id"),
            (market.products, market.product, "product_id"),
        )
    }
    columns |= {"p_approve": shown.p_approve, "p_fund": shown.p_fund, "pd": shown.p_default}
    columns |= {"suggested_apr": shown.apr, "amount": shown.amount}

    def publish(**changed: FloatArray) -> dict[str, float]:
        folder = settings.day_folder(settings.pairs, DAY)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns | changed), folder / "pairs.parquet")
        found = compute_value_of_information(settings, DAY)
        assert found
        return {plan.known: plan.share for plan in found.plans}

    return publish, shown


def test_an_estimate_that_is_wrong_costs_what_knowing_it_brings(estimated):
    publish, shown = estimated
    exact = publish()
    assert list(exact) == ["nothing", *ESTIMATES, "all"]
    assert set(exact.values()) == {1.0}
    shuffled = np.random.default_rng(3).permutation(shown.p_approve)
    found = publish(p_approve=shuffled)
    assert found["nothing"] < 0.9
    assert found["approval"] == found["all"] == 1
    # the other estimates are right already
    assert found["default"] == found["amount"] == found["rate"] == found["nothing"]


def test_without_the_pairs_of_the_day_there_is_no_value_of_information(matched, made):
    assert compute_value_of_information(matched.settings, DAY) is None
    assert "not kept any more" in made[2]


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
