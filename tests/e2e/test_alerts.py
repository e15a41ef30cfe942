"""Each kind of alert arrives once at a real mail server and at a real webhook."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from aiosmtpd.controller import Controller

from pipelines.core.publishing import MANIFEST, sha256, write_json
from pipelines.core.settings import PROJECT, Settings
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY
from tests.helpers.servers import find_free_port

RUN_DAGS = """
import os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what Airflow prints is no answer
from datetime import UTC, date
from pathlib import Path
from dags.local.environment import prepare_metadata, set_airflow_environment
from pipelines.core.settings import use_home
settings = use_home(Path(sys.argv[1]))
set_airflow_environment(settings)
prepare_metadata()
from airflow.dag_processing.dagbag import DagBag
dags = DagBag("dags").dags
for line in sys.stdin:
    day, name, *steps = line.split()
    dag = dags[name].partial_subset(steps, include_upstream=False) if steps else dags[name]
    for task in dag.tasks:
        task.retries = 0
    moment = settings.day_start(date.fromisoformat(day)).astimezone(UTC)
    print(dag.test(logical_date=moment).state, file=answers, flush=True)
"""

RunDag = Callable[..., str]
"""Run a DAG, or some of its steps, for one date by Airflow's own `dag.test`; return its state."""


class Ports(NamedTuple):
    """The ports of this machine at which alerts are received."""

    mail: int
    web: int


@dataclass
class Receivers:
    """A mail server and a webhook on this machine, and what they got."""

    mail_server: Any = None
    mails: list[Message] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports(find_free_port(), find_free_port())


@pytest.fixture
def receivers(ports: Ports) -> Iterator[Receivers]:
    got = Receivers()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", ports.web), Webhook)
    Thread(target=web.serve_forever, daemon=True).start()
    mail = Controller(got, hostname="127.0.0.1", port=ports.mail)
    mail.start()
    got.mail_server = mail
    yield got
    with suppress(RuntimeError):  # a test has stopped it, and its loop is closed
        mail.stop(no_assert=True)
    web.shutdown()
    web.server_close()


def make_variables(ports: Ports) -> dict[str, str]:
    """Return the variables that send alerts to the receivers."""
    extra = {"from_email": "banyan@example.org", "disable_tls": True, "disable_ssl": True}
    return {
        "AIRFLOW_CONN_BANYAN_SMTP": json.dumps(
            {"conn_type": "smtp", "host": "127.0.0.1", "port": ports.mail, "extra": extra}
        ),
        "AIRFLOW_CONN_BANYAN_WEBHOOK": f"http://127.0.0.1:{ports.web}/services/banyan",
        "BANYAN_ALERT_MAIL_TO": "night@example.org, risk@example.org",
    }


@pytest.fixture(scope="module")
def home(ran: CompletedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the home where both dates were run, for all tests."""
    return copy_home(ran.home, tmp_path_factory.mktemp("alerts") / "home")


@pytest.fixture(scope="module")
def run_dag(home: Path, ports: Ports) -> Iterator[RunDag]:
    """Start a process with Airflow on the home, and yield the function that runs a DAG in it."""
    command = [sys.executable, "-c", RUN_DAGS, str(home)]
    environment = os.environ | make_variables(ports)
    pipe = subprocess.PIPE
    with (
        (home / "airflow.log").open("w+") as log,
        subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdin=pipe, stdout=pipe, stderr=log, text=True
        ) as process,
    ):

        def run_dag(day: date, dag: str, *steps: str) -> str:
            process.stdin.write(" ".join([f"{day}", dag, *steps]) + "\n")
            process.stdin.flush()
            state = process.stdout.readline().strip()
            assert state, (home / "airflow.log").read_text()
            return state

        yield run_dag


def kinds(receivers: Receivers) -> list[str]:
    """Return the kinds of alerts, after checking that mail and webhook got the same."""
    subjects = [mail["Subject"] for mail in receivers.mails]
    assert subjects == [post["headline"] for post in receivers.posts]
    return [post["kind"] for post in receivers.posts]


def test_a_missed_deadline_sends_one_alert_with_words_and_the_way_on(run_dag, receivers):
    """A receiver that is gone loses no other message, fails nothing, and gets its own later."""
    late, later = (MONDAY + timedelta(days=days) for days in (1, 2))
    for _ in range(2):
        assert run_dag(late, "check_deadline") == "failed"
    assert kinds(receivers) == ["deadline_missed"]
    post, mail = receivers.posts[0], receivers.mails[0]
    assert post["date"] == f"{late}"
    assert "due at 07:00" in post["message"]
    assert "runbook" in post["text"]
    assert post["link"].startswith("http")
    assert mail["Subject"] == f"Banyan: {late}: lead files are late"
    assert mail["To"] == "night@example.org, risk@example.org"

    receivers.mail_server.stop()
    assert run_dag(later, "check_deadline") == "failed"
    assert [(post["kind"], post["date"]) for post in receivers.posts] == [
        ("deadline_missed", f"{late}"),
        ("deadline_missed", f"{later}"),
    ]
    assert len(receivers.mails) == 1

    again = Controller(receivers, hostname="127.0.0.1", port=receivers.mail_server.port)
    again.start()
    receivers.mail_server = again
    assert run_dag(later, "check_deadline") == "failed"
    assert [mail["Subject"] for mail in receivers.mails][1:] == [
        f"Banyan: {later}: lead files are late"
    ]
    assert len(receivers.posts) == 2
    again.stop()


def test_a_failed_step_and_a_day_that_is_not_fit_send_one_alert_each_until_the_day_closes(
    home, run_dag, receivers, tmp_path
):
    """And a clean day sends nothing."""
    report = Settings(home=home).day_folder(Settings(home=home).reports, SUNDAY)
    shutil.copytree(report, tmp_path / "report")
    assert run_dag(MONDAY, "daily_match", "close") == "success"
    assert run_dag(MONDAY, "check_deadline") == "success"
    assert receivers.mails == []
    assert receivers.posts == []
    assert not list(home.glob(f"alerts/date={MONDAY}*"))

    (report / "quality.json").unlink()
    for _ in range(2):
        assert run_dag(SUNDAY, "daily_match", "close") == "failed"
    assert kinds(receivers) == ["step_failed"]

    shutil.copy(tmp_path / "report" / "quality.json", report)
    quality = json.loads((report / "quality.json").read_text())
    not_fit = {"verdict": "not_fit", "reasons": ["a reason"]}
    write_json(report / "quality.json", quality | not_fit)
    manifest = json.loads((report / MANIFEST).read_text())
    manifest["files"]["quality.json"]["sha256"] = sha256(report / "quality.json")
    write_json(report / MANIFEST, manifest)
    for _ in range(2):
        assert run_dag(SUNDAY, "daily_match", "close") == "failed"
    assert kinds(receivers) == ["step_failed", "not_fit"]
    assert "a reason" in receivers.posts[-1]["message"]

    shutil.rmtree(report)
    shutil.copytree(tmp_path / "report", report)
    for _ in range(2):
        assert run_dag(SUNDAY, "daily_match", "close") == "success"
    assert kinds(receivers) == ["step_failed", "not_fit", "recovered"]
    entries = (home / "alerts" / f"date={SUNDAY}.jsonl").read_text().splitlines()
    assert [json.loads(entry)["sent_to"] for entry in entries] == [
        ["banyan_smtp", "banyan_webhook"]
    ] * 3
