"""The section on acquisition cost adds up the mart by channel and by institution."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.core.database import connect
from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.reports.languages import LANGUAGES, pages
from pipelines.reports.report_data import Report
from pipelines.reports.sections.acquisition import Acquisition, load_acquisition
from tests.helpers.html import page_text
from tests.helpers.mart_schemas import SCHEMAS

DAY = date(2026, 3, 10)
ROW = {
    "channel_id": "search",
    "campaign_id": "spring",
    "cohort": date(2026, 3, 1),
    "currency": "CNY",
    "leads": 10,
    "delivered": 10,
    "approved": 0,
    "funded": 0,
}


def load(settings: Settings, rows: list[dict[str, Any]]) -> Acquisition:
    schema = SCHEMAS["fct_acquisition_cost"]
    folder = settings.day_folder(settings.marts, DAY)
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist([ROW | row for row in rows], schema)
    write_parquet(table, folder / "fct_acquisition_cost.parquet")
    with connect(settings) as connection:
        return load_acquisition(settings, DAY, connection)


ROWS: list[dict[str, Any]] = [
    {"institution_id": "bank", "lead_share": 5.0, "spend": 300.0, "approved": 4, "funded": 2,
     "annual_yield": 1000.0, "share_of_yield": 0.3},
    {"institution_id": "fund", "lead_share": 5.0, "spend": 300.0, "approved": 2},
    {"institution_id": None, "lead_share": 2.0, "spend": 120.0, "leads": 2, "delivered": 0},
]  # fmt: skip


def test_groups_add_up_and_rates_follow_from_the_sums(tmp_path: Path):
    found = load(Settings(home=tmp_path), ROWS)
    (channel,) = found.channels
    assert (channel.leads, channel.spend, channel.cost_per_lead) == (12.0, 720.0, 60.0)
    assert (channel.cost_per_approval, channel.cost_per_funded) == (120.0, 360.0)
    assert channel.share_of_yield == pytest.approx(0.72)
    assert [row.name for row in found.institutions] == ["bank", "fund"]
    assert found.institutions[1].cost_per_funded is None


def test_the_page_has_the_costs(tmp_path: Path):
    found = load(Settings(home=tmp_path), ROWS)
    template = pages(LANGUAGES[0]).get_template("acquisition.html")
    html = template.render(
        report=Report(day=DAY, acquisition=found), limit=200, first=25, page=LANGUAGES[0]
    )
    assert "720.00 CNY" in page_text(html)
    assert "72.0%" in page_text(html)


def test_a_day_of_an_earlier_version_has_no_such_table(tmp_path: Path):
    settings = Settings(home=tmp_path)
    with connect(settings) as connection, pytest.raises(FileNotFoundError):
        load_acquisition(settings, DAY, connection)
