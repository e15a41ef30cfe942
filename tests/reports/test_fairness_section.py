"""The report names proxies of a protected attribute, for groups and never for a person."""

import json
from datetime import date

import pyarrow.parquet as pq
import pytest

from pipelines.core.settings import Settings
from pipelines.reports.publish_report import report
from pipelines.reports.sections.fairness.proxies import measure_proxies
from tests.helpers.day import write_day_before_matching, write_lake_leads
from tests.helpers.html import section_text

DAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A day on which women rent and men do not; ethnicity is unknown."""
    settings = write_day_before_matching(tmp_path_factory.mktemp("fairness"), DAY, leads=600)
    leads = pq.read_table(settings.day_folder(settings.marts, DAY) / "leads.parquet").to_pylist()
    genders = {
        lead["lead_id"]: {"gender": "female" if lead["housing"] == "rent" else "male"}
        for lead in leads
    }
    write_lake_leads(settings, DAY, **genders)
    return settings


def test_the_proxy_of_an_attribute_is_named(settings):
    ethnicity, gender = measure_proxies(settings, DAY)
    assert (ethnicity.attribute, ethnicity.leads, ethnicity.auc) == ("ethnicity", 0, None)
    assert gender.auc_low > 0.95
    assert gender.groups[0].strongest[0].feature == "housing"


def test_excluded_leads_do_not_count(settings):
    leads = pq.read_table(settings.day_folder(settings.marts, DAY) / "leads.parquet")
    excluded = leads.num_rows - leads["exclusion_stage"].null_count
    assert excluded > 0
    _, gender = measure_proxies(settings, DAY)
    assert gender.leads == leads.num_rows - excluded


def test_page_and_quality_json_show_the_proxies(settings):
    report(settings, DAY)
    folder = settings.day_folder(settings.reports, DAY)
    section = section_text((folder / "index.html").read_text("utf-8"), "fairness")
    assert "gender" in section
    assert "housing" in section
    assert "ethnicity too few leads" in section
    quality = json.loads((folder / "quality.json").read_text("utf-8"))
    assert [row["attribute"] for row in quality["fairness"]] == ["ethnicity", "gender"]
    assert not any(f"lead-{number:07}" in section for number in range(600))
