"""The drift figures are on the page, in `quality.json` and, where they call for it, on top."""

from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.drift.figures import Drift, Figure
from pipelines.reports import report
from pipelines.reports.sections.drift import drift_findings
from tests.evaluation.drift.test_drift import capped, lower_scores
from tests.helpers.drifted_home import CHANNEL, LAST, publish_calm, struck
from tests.reports.conftest import Report, make
from tests.reports.test_page import Outline, cells


@pytest.fixture(scope="module")
def struck_day(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a day on which a channel turned bad and a price cap came into force."""
    calm = publish_calm(tmp_path_factory.mktemp("calm"))
    home = tmp_path_factory.mktemp("struck") / "home"
    return make(struck(calm, home, leads=lower_scores, products=capped))


def test_a_day_without_days_before_it_says_so(whole: Report):
    assert "No reference yet: 0 days before those that are looked at" in " ".join(
        whole.page.split()
    )
    assert whole.quality["drift"]["reference_days"] == []
    assert not any(figure["topic"] == "leads" for figure in whole.quality["drift"]["figures"])


def test_a_home_without_anything_still_has_its_report(tmp_path: Path):
    settings = Settings(home=tmp_path)
    assert report(settings, LAST)["state"] == "incomplete"
    assert "No reference yet" in (tmp_path / "reports" / f"date={LAST}" / "index.html").read_text()


def test_what_drifts_is_among_the_findings_under_its_group(struck_day: Report):
    said = {row["what"]: row for row in struck_day.quality["findings"]}
    leads = said["The leads of 1 channel have drifted"]
    assert leads["weight"] == "act"
    assert leads["evidence"].startswith(f"{CHANNEL}: bureau score ")
    assert "highest annual cost" in said["What open products offer has changed"]["evidence"]


def test_every_figure_is_in_the_list_for_programs(struck_day: Report):
    figures = struck_day.quality["drift"]["figures"]
    names = {"topic", "what", "grouping", "group", "statistic", "value", "distance", "threshold"}
    assert all(names <= figure.keys() for figure in figures)
    assert {figure["state"] for figure in figures} >= {"steady", "drift"}
    assert all(figure["reference_days"] == 9 for figure in figures if figure["topic"] == "leads")


def test_the_section_shows_what_moved_and_counts_the_rest(struck_day: Report):
    rows = cells(struck_day.page)
    assert any(row.startswith(f"drift | bureau score | {CHANNEL} | ") for row in rows)
    (leads,) = (row.split(" | ") for row in rows if row.startswith("Features of the leads | "))
    states = [
        figure["state"]
        for figure in struck_day.quality["drift"]["figures"]
        if figure["topic"] == "leads"
    ]
    assert leads[1:5] == [
        f"{count:,}"
        for count in (len(states), *(states.count(state) for state in ("steady", "watch", "drift")))
    ]


def test_the_section_is_sound(struck_day: Report):
    outline = Outline()
    outline.feed(struck_day.page)
    assert outline.mistakes == []
    assert "drift" in outline.anchors


def test_a_finding_names_a_few_groups_and_counts_the_rest(struck_day: Report):
    figure = Figure(
        *("approval", "approved to predicted", "institution", "", "ratio", 0.1, 1.0, 9.0),
        *(0.25, 0.5, 0.001, 90, 900, 20, None, None, "", "drift"),
    )
    figures = tuple(Figure(**(vars(figure) | {"group": f"bank-{n}"})) for n in range(8))
    (finding,) = drift_findings(Drift(figures=figures))
    assert finding.what == "Approvals of 8 institutions are not what was predicted"
    assert finding.evidence.count("approved to predicted 0.100, before 1.000") == 5
    assert finding.evidence.endswith("; and 3 more")
