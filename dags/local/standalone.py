"""`make airflow`: the DAGs under Airflow's own scheduler on this machine, with its page.

Airflow's `standalone` starts an API server, a scheduler, a DAG processor and a triggerer on a
SQLite file. Their output goes to a log; the terminal shows only the page's address and its users.
"""

import json
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from signal import SIGINT
from urllib.error import URLError
from urllib.request import urlopen

from dags.local.environment import prepare_metadata, set_airflow_environment
from dags.local.lock import lock_home
from dags.local.terminal import redirect_output
from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings

PATIENCE = 180
"""Seconds within which the page must answer."""


def run_standalone(settings: Settings) -> int:
    """Run Airflow until Ctrl-C and return its exit code.

    Raises:
        HomeLocked: Another run is at work on the home.
        IntegrityError: Airflow did not start.
    """
    log = settings.logs / "airflow.log"
    with lock_home(settings):
        set_airflow_environment(settings)
        print(f"Starting Airflow; its output goes to {log}", file=sys.stderr)
        with redirect_output(log):
            _prepare_metadata_apart(log)
            airflow = subprocess.Popen([sys.executable, "-m", "airflow", "standalone"])
        try:
            print(_wait_for_page(settings, airflow, log), flush=True)
            return airflow.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            airflow.send_signal(SIGINT)  # Airflow then stops its four parts in order
            airflow.wait()


def _prepare_metadata_apart(log: Path) -> None:
    """Prepare the metadata in a child process, so that this one does not hold Airflow's memory."""
    child = get_context("spawn").Process(target=prepare_metadata)
    child.start()
    child.join()
    if child.exitcode:
        raise IntegrityError(f"Airflow's metadata could not be prepared. {log} says why.")


def _wait_for_page(settings: Settings, airflow: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until the page answers and return its address and users."""
    page = f"http://localhost:{settings.airflow_port}"
    until = time.monotonic() + PATIENCE
    while not _answers(page):
        if airflow.poll() is not None or time.monotonic() > until:
            raise IntegrityError(
                f"Airflow's page at {page} didn't answer. {log} says why. If the port is in use, "
                "choose another with BANYAN_AIRFLOW_PORT."
            )
        time.sleep(1)
    passwords = settings.airflow / "simple_auth_manager_passwords.json.generated"
    users = json.loads(passwords.read_text("utf-8")) if passwords.exists() else {}
    entries = [f"user {user}, password {password}" for user, password in users.items()]
    return "\n".join([f"Airflow is at {page}", *entries, "Ctrl-C stops it."])


def _answers(page: str) -> bool:
    try:
        with urlopen(f"{page}/api/v2/monitor/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own OK
    except (URLError, OSError):
        return False
