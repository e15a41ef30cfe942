"""`banyan status` shows the last dates, what is open, and what comes next."""

import json
from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from pipelines.core.step_failures import record_failure
from pipelines.operations.alert_ledger import lock_alerts, record_alert
from pipelines.operations.status import format_status, load_status
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, banyan


def test_the_status_shows_what_ran_what_is_open_and_what_comes_next(
    ran: CompletedRun, tmp_path: Path
):
    home = copy_home(ran.home, tmp_path / "home")
    shown = banyan(home, "status")
    assert shown.returncode == 0, shown.stderr
    received = ran.figures[f"{MONDAY}"]["received"]
    assert f"{MONDAY} {ran.figures[f'{MONDAY}']['verdict']}" in shown.stdout
    assert f"{received:,} leads" in shown.stdout
    status = json.loads(banyan(home, "status", "--json").stdout)
    assert [day["date"] for day in status["dates"]] == [f"{SUNDAY}", f"{MONDAY}"]
    assert status["next_seconds"] > 0
    assert status["next_date"] == ""
    with (
        pytest.raises(ZeroDivisionError),
        record_failure(Settings(home=home), MONDAY, "match", None),
    ):
        _ = 1 / 0
    assert f"{MONDAY} failed" in banyan(home, "status").stdout


def test_a_new_home_has_no_date_yet(tmp_path: Path):
    shown = banyan(tmp_path, "status")
    assert shown.returncode == 0, shown.stderr
    assert "no date was run yet" in shown.stdout


def test_a_report_that_failed_is_shown_with_its_words(tmp_path: Path):
    settings = Settings(home=tmp_path)
    settings.day_folder(settings.matches, MONDAY).mkdir(parents=True)
    for task in ("score", "report"):
        alert = {"kind": "step_failed", "date": f"{MONDAY}", "task": task, "cause": task}
        with lock_alerts(settings, MONDAY):
            record_alert(settings, MONDAY, alert | {"message": f"the cause of {task}"})
    shown = format_status(load_status(settings))
    assert "report (step_failed)" in shown
    assert ": the cause of report" in shown
    assert "score (step_failed)" in shown
    assert "the cause of score" not in shown  # its note is with the date
