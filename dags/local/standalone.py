"""`make airflow`: the DAGs under Airflow's own scheduler on this machine, with its page.

Airflow's `standalone` starts a page server, a scheduler, a DAG processor and a triggerer on a
SQLite file. What they print goes to a log; the terminal says only where the page is and who
may enter.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT
from urllib.error import URLError
from urllib.request import urlopen

from dags.local.environment import enter
from dags.local.lock import alone
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.settings import Settings

PATIENCE = 180
"""Seconds within which the page must answer."""


def main() -> int:
    """Run Airflow until Ctrl-C."""
    settings = Settings()
    log = settings.logs / "airflow.log"
    try:
        with alone(settings):
            return _serve(settings, log)
    except BanyanError as error:
        print(error, file=sys.stderr)
        return 1


def _serve(settings: Settings, log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    enter(settings)
    print(f"Starting Airflow; what it prints goes to {log}", file=sys.stderr)
    command = [sys.executable, "-m", "airflow", "standalone"]
    with log.open("w") as file:
        subprocess.run(  # a process of its own: Airflow prints a lot while it is imported
            [sys.executable, "-m", "dags.local.environment"], stdout=file, stderr=file, check=True
        )
        airflow = subprocess.Popen(command, stdout=file, stderr=file)  # noqa: S603
        try:
            _welcome(settings, airflow, log)
            return airflow.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            airflow.send_signal(SIGINT)  # on it, Airflow stops its four parts in order
            airflow.wait()


def _welcome(settings: Settings, airflow: "subprocess.Popen[bytes]", log: Path) -> None:
    page = f"http://localhost:{settings.airflow_port}"
    until = time.monotonic() + PATIENCE
    while not _answers(page):
        if airflow.poll() is not None or time.monotonic() > until:
            raise IntegrityError(
                f"Airflow's page at {page} didn't answer. {log} says why. Where the port is taken, "
                "choose another with BANYAN_AIRFLOW_PORT."
            )
        time.sleep(1)
    passwords = settings.airflow / "simple_auth_manager_passwords.json.generated"
    users = json.loads(passwords.read_text()) if passwords.exists() else {}
    entries = [f"user {user}, password {password}" for user, password in users.items()]
    print("\n".join([f"Airflow is at {page}", *entries, "Ctrl-C stops it."]), flush=True)


def _answers(page: str) -> bool:
    try:
        with urlopen(f"{page}/api/v2/monitor/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own OK
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
