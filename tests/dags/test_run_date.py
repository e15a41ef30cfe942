"""A run date far from today and from every landed file, or in the future, is refused."""

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
    [TODAY, TODAY - timedelta(7), LANDED, LANDED + timedelta(3)],
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


@pytest.mark.parametrize("days", [1, 7, 400])
@pytest.mark.parametrize(("newest", "runs"), [(-1, False), (0, True), (3, True), (4, False)])
def test_a_future_date_runs_only_if_its_files_have_landed(
    settings: Settings, days: int, newest: int, runs: bool
):
    day = TODAY + timedelta(days)
    folder = settings.landing / "leads" / "search" / f"{day + timedelta(newest)}"
    folder.mkdir(parents=True)
    (folder / "leads.csv").write_text("lead_id\n")
    if runs:
        check_run_date(settings, day, TODAY)
    else:
        with pytest.raises(IntegrityError, match=r"later than today .* --allow-far-date"):
            check_run_date(settings, day, TODAY)
