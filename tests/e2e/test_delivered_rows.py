"""Every delivered row agrees with the landed files, by the independent check."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import CompletedRun
from tests.e2e.market import MONDAY, SUNDAY, banyan
from tests.independent.check import Check, check_home

FIRST = date(2026, 3, 1)
LAST = FIRST + timedelta(days=9)
SEASON = (
    *("--start", f"{FIRST}", "--days", "10", "--leads-per-day", "250", "--institutions", "12"),
    *("--channels", "4", "--seed", "11", "--corruption", "0.02"),
)


def test_no_delivered_row_is_forbidden_by_the_landed_files(ran: CompletedRun):
    check = Check(ran.home, ran.home / "landing")
    assert check.run(SUNDAY, MONDAY) == []
    assert check.rows == sum(figures["matches"] for figures in ran.figures.values())
    assert not check.policy.not_judged


@pytest.mark.prove
def test_no_row_of_a_corrupted_season_is_forbidden_nor_after_dates_are_run_again(tmp_path: Path):
    process = banyan(tmp_path, "season", *SEASON)
    assert process.returncode == 0, process.stderr
    assert check_home(tmp_path, FIRST, LAST) == []
    for days in (2, 5, 9):
        day = FIRST + timedelta(days=days)
        process = banyan(tmp_path, "run", "--date", f"{day}", "--json")
        assert f"{day}" in json.loads(process.stdout.splitlines()[-1]), process.stderr
    check = Check(tmp_path, tmp_path / "landing")
    assert check.run(FIRST, LAST) == []
    assert check.rows > 1000
