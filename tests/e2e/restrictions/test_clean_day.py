"""A clean market has no day that is not fit, and no remark."""

import json
from pathlib import Path

import pytest

from tests.e2e.market import banyan

MARKET = (
    *("--start", "2026-01-05", "--days", "3", "--leads-per-day", "150", "--institutions", "8"),
    *("--channels", "3", "--seed", "5", "--corruption", "0"),
)
DAY = "2026-01-07"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("clean")
    assert banyan(home, "simulate", *MARKET).returncode == 0
    return home


@pytest.mark.prove  # tests/independent/test_clean_day.py has a first day without any fault
def test_a_clean_day_is_fit(home: Path):
    process = banyan(home, "run", "--date", DAY, "--json")
    assert process.returncode == 0, process.stderr
    assert f"{DAY} is fit." in process.stderr
    figures = json.loads(process.stdout)[DAY]
    assert (figures["verdict"], figures["reasons"]) == ("fit", [])
    quality = json.loads((home / "reports" / f"date={DAY}" / "quality.json").read_text())
    assert {finding["severity"] for finding in quality["findings"]} == {"fit"}


@pytest.mark.prove
def test_a_clean_day_has_a_remark_while_files_of_dates_far_ahead_wait(home: Path):
    assert banyan(home, "run", "--date", DAY).returncode == 0
    for folder in ("c13/2026-12-29", "video-01/2027-01-10"):
        file = home / "landing" / "leads" / folder / "leads.csv"
        file.parent.mkdir(parents=True)
        file.write_text("lead_id\n")
    process = banyan(home, "run", "--date", DAY)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-2:] == [
        f"{DAY} is fit, with remarks:",
        "  - Files in folders of dates far ahead: 2",
    ]
    assert banyan(home, "replay", "--date", DAY).returncode == 0


@pytest.mark.prove
def test_thirty_clean_days_are_fit_without_a_remark(tmp_path: Path):
    market = [*MARKET]
    market[market.index("--days") + 1] = "30"
    assert banyan(tmp_path, "simulate", *market).returncode == 0
    process = banyan(tmp_path, "run", "--date", "2026-01-05", "--to", "2026-02-03", "--json")
    assert process.returncode == 0, process.stderr
    days = json.loads(process.stdout)
    assert len(days) == 30
    assert {(day["verdict"], *day["reasons"]) for day in days.values()} == {("fit",)}
