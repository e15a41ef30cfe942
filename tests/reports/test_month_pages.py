"""The page of a month divides its cost by channel, campaign, institution and product."""

import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.core.formats import NOTHING
from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.reports.overview.day_index import PAGE, write_day_index
from pipelines.reports.overview.month_costs import update_month_costs
from pipelines.reports.overview.period_pages import FIRST_ROWS
from tests.docs.picture import run_chromium
from tests.helpers.html import assert_self_contained, assert_well_formed, table_rows
from tests.helpers.mart_schemas import SCHEMAS

DAY, NEXT_MONTH = date(2026, 3, 10), date(2026, 5, 2)
MARCH, FEBRUARY = date(2026, 3, 1), date(2026, 2, 1)
ROWS: list[dict[str, Any]] = [
    {"institution_id": "bank", "product_id": "cash", "campaign_id": "spring", "lead_share": 5.0,
     "spend": 300.0, "approved": 4, "funded": 2, "annual_yield": 1000.0, "share_of_yield": 0.3},
    {"institution_id": "fund", "product_id": "car", "campaign_id": "", "lead_share": 5.0,
     "spend": 250.0, "approved": 2, "funded": 0},
    {"institution_id": None, "campaign_id": "", "lead_share": 2.0, "spend": 120.0, "approved": 0,
     "funded": 0, "channel_id": "mail"},
]  # fmt: skip


def publish(settings: Settings, day: date, rows: list[dict[str, Any]], *cohorts: date) -> None:
    """Publish the costs as the marts of `day` know them, the same for each month of capture."""
    usual = {"channel_id": "search", "currency": "CNY", "leads": 5, "delivered": 5}
    schema = SCHEMAS["fct_acquisition_cost"]
    table = [usual | row | {"cohort": cohort} for cohort in cohorts for row in rows]
    folder = settings.day_folder(settings.marts, day)
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(pa.Table.from_pylist(table, schema), folder / "fct_acquisition_cost.parquet")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", threads=1)
    publish(settings, DAY, ROWS, FEBRUARY, MARCH)
    return settings


def read_page(settings: Settings, month: str = "2026-03") -> str:
    return (settings.reports / "months" / f"{month}.html").read_text("utf-8")


def test_a_month_is_divided_by_channel_campaign_institution_and_product(settings):
    write_day_index(settings, DAY)
    page = read_page(settings)
    assert_well_formed(page)
    assert_self_contained(page)
    rows = [row.split(" | ")[:6] for row in table_rows(page)]
    costs = {row[0]: row[1:] for row in rows}
    assert costs["search"] == ["55.00", "91.67", "275.00", "55.0%", "550.00 CNY"]
    assert costs["search/spring"] == ["60.00", "75.00", "150.00", "30.0%", "300.00 CNY"]
    assert costs["mail/no campaign"] == ["60.00", *[NOTHING] * 3, "120.00 CNY"]
    assert costs["bank"] == costs["bank/cash"] == costs["search/spring"]
    assert costs["2026-03"] == ["55.83", "111.67", "335.00", "67.0%", "670.00 CNY"]
    assert "The month is not over" in page.replace("\n", " ")
    assert "The month is not over" not in read_page(settings, "2026-02").replace("\n", " ")


def test_the_page_of_all_days_leads_to_each_month_and_the_months_to_each_other(settings):
    write_day_index(settings, DAY)
    index = (settings.reports / PAGE).read_text("utf-8")
    assert_well_formed(index)
    links = re.findall(r'href="(months/[\d-]+\.html)#costs"', index)
    assert links == ["months/2026-03.html", "months/2026-02.html"]
    assert all((settings.reports / link).is_file() for link in links)
    assert re.findall(r'href="([\d-]+)\.html"', read_page(settings)) == ["2026-02"]
    assert 'href="2026-02.zh.html"' in (settings.reports / "months" / "2026-03.zh.html").read_text()


def test_a_month_that_newer_marts_no_longer_have_stays_as_it_was(settings):
    write_day_index(settings, DAY)
    february = read_page(settings, "2026-02")
    later = [row | {"funded": 3} for row in ROWS[:1]]
    publish(settings, NEXT_MONTH, later, MARCH, date(2026, 5, 1))
    write_day_index(settings, NEXT_MONTH)
    months = update_month_costs(settings)
    assert {name: month.as_of for name, month in months.items()} == {
        "2026-02": f"{DAY}",
        "2026-03": f"{NEXT_MONTH}",
        "2026-05": f"{NEXT_MONTH}",
    }
    assert read_page(settings, "2026-02") == february
    assert "100.00" in read_page(settings)  # 300 over three loans
    (settings.reports / "months" / "months.json").write_text("[")
    assert update_month_costs(settings) == months
    shutil.rmtree(settings.day_folder(settings.marts, DAY))
    (settings.reports / "months" / "2026-02.html").unlink()
    write_day_index(settings, NEXT_MONTH)
    assert "can't be divided" in read_page(settings, "2026-02")
    assert "335.00" in read_page(settings, "2026-02")


def test_a_home_whose_marts_have_no_such_table_has_no_month(tmp_path):
    settings = Settings(home=tmp_path)
    (settings.marts / f"date={DAY}").mkdir(parents=True)
    assert update_month_costs(settings) == {}
    write_day_index(settings, DAY)
    assert "months/" not in (settings.reports / PAGE).read_text("utf-8")


def test_long_lists_are_folded_and_several_currencies_have_a_row_each(tmp_path):
    settings = Settings(home=tmp_path)
    many = [ROWS[0] | {"institution_id": f"bank-{n:03d}"} for n in range(FIRST_ROWS + 5)]
    publish(settings, DAY, [*many, ROWS[1] | {"currency": "USD"}], MARCH)
    write_day_index(settings, DAY)
    months = update_month_costs(settings)
    page = read_page(settings)
    assert page.count("<details>") == 2  # institutions and products
    assert "6 further rows" in page
    assert [row.currency for row in months["2026-03"].totals] == ["CNY", "USD"]
    assert "250.00 USD" in page


@pytest.mark.prove
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_screen(settings: Settings, tmp_path: Path, width: int):
    if not shutil.which("chromium"):
        pytest.skip("Chromium is not installed")
    write_day_index(settings, DAY)
    for path in (settings.reports / PAGE, settings.reports / "months" / "2026-03.html"):
        page = re.sub(r"; script-src '[^']+'", "", path.read_text("utf-8"))
        page = page.replace("img-src data:", "img-src data:; script-src 'unsafe-inline'")
        probe = "document.title = document.documentElement.scrollWidth"
        (tmp_path / "inner.html").write_text(
            page.replace("</body>", f"<script>{probe}</script></body>"), "utf-8"
        )
        frame = (
            f'<iframe id="f" src="inner.html" style="width:{width}px;height:900px;border:0" '
            'onload="document.title = f.contentDocument.title"></iframe>'
        )
        (tmp_path / "outer.html").write_text(frame)
        seen = run_chromium(
            "--allow-file-access-from-files", "--dump-dom", f"file://{tmp_path / 'outer.html'}"
        )
        found = re.search(r"<title>(\d+)</title>", seen)
        assert found is not None
        assert int(found.group(1)) <= width
