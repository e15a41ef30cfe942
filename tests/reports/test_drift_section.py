"""Drift figures are on the page and in `quality.json`; figures in state drift are findings."""

from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.drift.comparison import Drift, Figure
from pipelines.reports.findings import drift_findings
from pipelines.reports.publish_report import report
from tests.evaluation.drift.test_drift import capped, lower_scores
from tests.helpers.drifted_home import CHANNEL, LAST, publish_changed_days, publish_steady_days
from tests.helpers.html import PageOutline, assert_well_formed, page_text, table_rows
from tests.reports.conftest import PublishedReport, publish_report


@pytest.fixture(scope="module")
def changed_day(tmp_path_factory: pytest.TempPathFactory) -> PublishedReport:
    """The report of a day with a deteriorating channel and a new price cap."""
    steady = publish_steady_days(tmp_path_factory.mktemp("steady"))
    home = tmp_path_factory.mktemp("changed") / "home"
    return publish_report(publish_changed_days(steady, home, leads=lower_scores, products=capped))


def test_a_day_without_earlier_days_has_no_reference(whole: PublishedReport):
    assert "No reference yet: 0 earlier days published." in page_text(whole.page)
    assert whole.quality["drift"]["reference_days"] == []
    assert not any(figure["topic"] == "leads" for figure in whole.quality["drift"]["figures"])


def test_an_empty_home_has_a_report(tmp_path: Path):
    settings = Settings(home=tmp_path)
    assert report(settings, LAST)["verdict"] == "not_fit"
    assert "No reference yet" in (tmp_path / "reports" / f"date={LAST}" / "index.html").read_text()


def test_a_drifting_group_is_a_finding(changed_day: PublishedReport):
    findings = {row["title"]: row for row in changed_day.quality["findings"]}
    leads = findings["The leads of 1 channel have drifted"]
    assert leads["severity"] == "remark"
    assert leads["evidence"].startswith(f"{CHANNEL}: bureau score ")
    assert "highest annual cost" in findings["What open products offer has changed"]["evidence"]


def test_every_figure_is_in_quality_json(changed_day: PublishedReport):
    figures = changed_day.quality["drift"]["figures"]
    names = {"topic", "measure", "grouping", "group", "value", "distance", "drift_threshold"}
    assert all(names <= figure.keys() for figure in figures)
    assert {figure["state"] for figure in figures} >= {"steady", "drift"}
    assert all(figure["reference_days"] == 9 for figure in figures if figure["topic"] == "leads")


def test_the_section_lists_figures_beyond_the_thresholds(
    changed_day: PublishedReport,
):
    rows = table_rows(changed_day.page)
    assert any(row.startswith(f"drift | bureau score | {CHANNEL} | ") for row in rows)
    (leads,) = (row.split(" | ") for row in rows if row.startswith("Features of the leads | "))
    states = [
        figure["state"]
        for figure in changed_day.quality["drift"]["figures"]
        if figure["topic"] == "leads"
    ]
    assert leads[1:5] == [
        f"{count:,}"
        for count in (len(states), *(states.count(state) for state in ("steady", "watch", "drift")))
    ]


def test_the_section_is_well_formed(changed_day: PublishedReport):
    assert_well_formed(changed_day.page)
    assert "drift" in PageOutline.of_page(changed_day.page).anchors


def test_a_finding_names_a_few_groups_and_counts_the_others(changed_day: PublishedReport):
    figure = Figure(
        *("approval", "approved to predicted", "institution", "", "ratio", 0.1, 1.0, 9.0),
        *(0.25, 0.5, 0.001, 90, 900, 20, None, None, "", "drift"),
    )
    figures = tuple(Figure(**(vars(figure) | {"group": f"bank-{n}"})) for n in range(8))
    (finding,) = drift_findings(Drift(figures=figures))
    assert finding.title == "Approvals of 8 institutions differ from the predictions"
    assert finding.evidence.count("approved to predicted 0.100, before 1.000") == 5
    assert finding.evidence.endswith(" | and 3 more")
