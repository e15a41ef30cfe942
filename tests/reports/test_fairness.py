"""The report says what stands for a protected attribute, of groups and never of a person."""

from datetime import date

import pyarrow.parquet as pq
import pytest

from pipelines.core.settings import Settings
from pipelines.reports import report
from pipelines.reports.sections.fairness import guessed
from tests.helpers.day import write_day_before_matching, write_lake_leads

DAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A day on which women rent and men do not; ethnicity is not told."""
    made = write_day_before_matching(tmp_path_factory.mktemp("fairness"), DAY, leads=600)
    leads = pq.read_table(made.day_folder(made.marts, DAY) / "leads.parquet").to_pylist()
    told = {
        lead["lead_id"]: {"gender": "female" if lead["housing"] == "rent" else "male"}
        for lead in leads
    }
    write_lake_leads(made, DAY, **told)
    return made


def test_what_gives_an_attribute_away_is_named(settings):
    ethnicity, gender = guessed(settings, DAY)
    assert (ethnicity.attribute, ethnicity.leads, ethnicity.auc) == ("ethnicity", 0, None)
    assert gender.auc_low > 0.95
    assert gender.groups[0].strongest[0].feature == "housing"


def test_leads_that_were_set_aside_do_not_count(settings):
    leads = pq.read_table(settings.day_folder(settings.marts, DAY) / "leads.parquet")
    set_aside = leads.num_rows - leads["exclusion_stage"].null_count
    assert set_aside > 0
    _, gender = guessed(settings, DAY)
    assert gender.leads == leads.num_rows - set_aside


def test_the_page_and_the_figures_tell_it(settings):
    report(settings, DAY)
    folder = settings.day_folder(settings.reports, DAY)
    page = (folder / "index.html").read_text("utf-8")
    section = page.partition('id="fairness"')[2].partition("</section>")[0]
    assert "gender" in section.lower()
    assert "housing" in section.lower()
    assert "too few leads to say" in section
    assert '"guessed"' in (folder / "quality.json").read_text("utf-8")
    assert not any(f"lead-{number:07}" in section for number in range(600))
