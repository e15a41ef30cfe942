"""Airflow's own backfill under a scheduler publishes the bytes of `run`."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY
from tests.e2e.published_bytes import differences
from tests.helpers.servers import command, environment_on, postgresql, run, service

pytestmark = pytest.mark.prove

SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
PATIENCE = 900
DONE = {"success", "failed"}


def list_objects(kind: str, environment: dict[str, str]) -> list[dict[str, str]]:
    printed = run(["airflow", "dags", *kind.split(), "--output", "json"], environment)
    return json.loads(printed.splitlines()[-1]) if "[{" in printed else []


def wait_until(condition: Callable[[], bool], name: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"{name} within {PATIENCE} s"
        time.sleep(5)


def test_a_backfill_on_the_composed_services_gives_the_bytes_of_day_by_day(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    home = copy_home(landed, tmp_path / "home")
    with ExitStack() as running:
        environment = environment_on(Settings(home=home), running.enter_context(postgresql()))
        environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"  # no run for yesterday
        run(command("migration"), environment)
        for name in SERVICES:
            running.enter_context(service(name, environment, log=tmp_path))
        wait_until(lambda: len(list_objects("list", environment)) == 2, "the DAGs are parsed")
        run(["airflow", "dags", "unpause", "daily_match", "--yes"], environment)
        dates = ["--from-date", f"{SUNDAY}", "--to-date", f"{MONDAY}"]
        run(["airflow", "backfill", "create", "--dag-id", "daily_match", *dates], environment)

        def states() -> list[str]:
            return [run["state"] for run in list_objects("list-runs daily_match", environment)]

        wait_until(lambda: len(states()) == 2 and set(states()) <= DONE, "both runs end")
        assert states() == ["success", "success"]
    assert differences(ran.home, home) == []
