"""Every delivered row agrees with the landed files, by the independent check."""

import gzip
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import CompletedRun
from tests.e2e.market import MONDAY, SUNDAY, banyan
from tests.independent.check import Check, check_home
from tests.independent.landed import Landing

FIRST = date(2026, 3, 1)
LAST = FIRST + timedelta(days=9)
MARKET = (
    *("--start", f"{FIRST}", "--leads-per-day", "250", "--institutions", "12"),
    *("--channels", "4", "--seed", "11", "--corruption", "0.02"),
)


def test_no_delivered_row_is_forbidden_by_the_landed_files(ran: CompletedRun):
    check = Check(ran.home, ran.home / "landing")
    assert check.run(SUNDAY, MONDAY) == []
    assert check.rows == sum(figures["matches"] for figures in ran.figures.values())
    assert not check.policy.not_judged


@pytest.mark.prove
def test_no_row_of_a_corrupted_season_is_forbidden_nor_after_dates_are_run_again(tmp_path: Path):
    banyan(tmp_path, "season", "--days", "1", *MARKET)
    assert check_home(tmp_path, FIRST, FIRST) == []
    send_orders_again(tmp_path)
    process = banyan(tmp_path, "season", "--days", "10", *MARKET)
    assert process.returncode == 0, process.stderr
    for days in (2, 5, 9):
        day = FIRST + timedelta(days=days)
        process = banyan(tmp_path, "run", "--date", f"{day}", "--json")
        assert f"{day}" in json.loads(process.stdout.splitlines()[-1]), process.stderr
    check = Check(tmp_path, tmp_path / "landing")
    assert check.run(FIRST, LAST) == []
    assert check.rows > 500


def send_orders_again(home: Path) -> None:
    """Send a list of orders that was in UTF-16, which holds every delivery, again in UTF-8."""
    landing = Landing(home / "landing")
    assert landing.orders
    (unread,) = (name for name in landing.unread if name.startswith("suppressions/"))
    text = gzip.decompress((landing.folder / unread).read_bytes()).decode("utf-16")
    (landing.folder / unread).with_name("again.csv").write_text(text, "utf-8")
