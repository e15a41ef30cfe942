"""A run date far from today and from every landed file is refused."""

from datetime import date, timedelta

import pytest

from dags.local.run_date import check_run_date
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings

TODAY = date(2026, 1, 12)
LANDED = date(2025, 6, 2)


@pytest.fixture
def settings(tmp_path) -> Settings:
    for folder in (f"leads/search/{LANDED}", "leads/search/not-a-date", "spam/2030-01-01"):
        (tmp_path / "landing" / folder).mkdir(parents=True)
        (tmp_path / "landing" / folder / "leads.csv").write_text("lead_id\n")
    return Settings(home=tmp_path)


@pytest.mark.parametrize(
    "day",
    [TODAY, TODAY - timedelta(7), TODAY + timedelta(7), LANDED, LANDED + timedelta(3)],
)
def test_a_date_near_today_or_near_a_landed_file_runs(settings: Settings, day: date):
    check_run_date(settings, day, TODAY)


@pytest.mark.parametrize(
    "day",
    [
        date(2027, 1, 10),
        date(2026, 1, 20),
        date(2026, 1, 4),
        LANDED + timedelta(4),
        date(2030, 1, 1),
    ],
)
def test_any_other_date_is_refused(settings: Settings, day: date):
    with pytest.raises(IntegrityError, match="may be mistyped"):
        check_run_date(settings, day, TODAY)


def test_a_home_without_files_runs_only_near_today(tmp_path):
    check_run_date(Settings(home=tmp_path), TODAY, TODAY)
    with pytest.raises(IntegrityError, match="no file has landed"):
        check_run_date(Settings(home=tmp_path), date(2027, 1, 10), TODAY)
