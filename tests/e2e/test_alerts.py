"""Each kind of alert arrives once at a real mail server and at a real webhook."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from pipelines.core.publishing import MANIFEST, sha256, write_json
from pipelines.core.settings import Settings
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY
from tests.helpers.commands import run_program
from tests.helpers.servers import find_free_port

RUN_DAGS = """
import sys
from datetime import UTC, date
from pathlib import Path
from dags.local.environment import prepare_metadata, set_airflow_environment
from pipelines.core.settings import use_home
settings = use_home(Path(sys.argv[1]))
set_airflow_environment(settings)
prepare_metadata()
from airflow.dag_processing.dagbag import DagBag
dags = DagBag("dags").dags
moment = settings.day_start(date.fromisoformat(sys.argv[2])).astimezone(UTC)
states = []
for word in sys.argv[3:]:
    name, _, step = word.partition(":")
    dag = dags[name].partial_subset([step], include_upstream=False) if step else dags[name]
    for task in dag.tasks:
        task.retries = 0
    states.append(dag.test(logical_date=moment).state)
print(*states)
"""


@dataclass
class Receivers:
    """A mail server and a webhook on this machine, and what they got."""

    variables: dict[str, str] = field(default_factory=dict)
    mails: list[Message] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    got = Receivers()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    Thread(target=web.serve_forever, daemon=True).start()
    mail = Controller(got, hostname="127.0.0.1", port=find_free_port())
    mail.start()
    extra = {"from_email": "banyan@example.org", "disable_tls": True, "disable_ssl": True}
    got.variables = {
        "AIRFLOW_CONN_BANYAN_SMTP": json.dumps(
            {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.port, "extra": extra}
        ),
        "AIRFLOW_CONN_BANYAN_WEBHOOK": f"http://127.0.0.1:{web.server_port}/services/banyan",
        "BANYAN_ALERT_MAIL_TO": "night@example.org, risk@example.org",
    }
    yield got
    mail.stop()
    web.shutdown()
    web.server_close()


def run_dags(receivers: Receivers, home: Path, day: date, *dags: str) -> list[str]:
    """Run DAGs, or a step each (`DAG:STEP`), for one date by Airflow's own `dag.test`, in order."""
    process = run_program(RUN_DAGS, str(home), f"{day}", *dags, **receivers.variables)
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()[-1].split()


def kinds(receivers: Receivers) -> list[str]:
    """Return the kinds of alerts, after checking that mail and webhook got the same."""
    subjects = [mail["Subject"] for mail in receivers.mails]
    assert subjects == [post["headline"] for post in receivers.posts]
    return [post["kind"] for post in receivers.posts]


def test_a_missed_deadline_sends_one_alert_with_words_and_the_way_on(tmp_path, receivers):
    twice = ["check_deadline"] * 2
    assert run_dags(receivers, tmp_path, MONDAY, *twice) == ["failed"] * 2
    assert kinds(receivers) == ["deadline_missed"]
    post, mail = receivers.posts[0], receivers.mails[0]
    assert post["date"] == f"{MONDAY}"
    assert "due at 07:00" in post["message"]
    assert "runbook" in post["text"]
    assert post["link"].startswith("http")
    assert mail["Subject"] == f"Banyan: {MONDAY}: lead files are late"
    assert mail["To"] == "night@example.org, risk@example.org"


def test_a_failed_step_and_a_day_that_is_not_fit_send_one_alert_each_until_the_day_closes(
    ran: CompletedRun,
    tmp_path,
    receivers,
):
    home = copy_home(ran.home, tmp_path / "home")
    report = Settings(home=home).day_folder(Settings(home=home).reports, SUNDAY)
    shutil.copytree(report, tmp_path / "report")
    (report / "quality.json").unlink()
    twice = ["daily_match:close"] * 2
    assert run_dags(receivers, home, SUNDAY, *twice) == ["failed"] * 2
    assert kinds(receivers) == ["step_failed"]

    shutil.copy(tmp_path / "report" / "quality.json", report)
    quality = json.loads((report / "quality.json").read_text())
    write_json(report / "quality.json", quality | {"verdict": "not_fit", "reasons": ["a reason"]})
    manifest = json.loads((report / MANIFEST).read_text())
    manifest["files"]["quality.json"]["sha256"] = sha256(report / "quality.json")
    write_json(report / MANIFEST, manifest)
    assert run_dags(receivers, home, SUNDAY, *twice) == ["failed"] * 2
    assert kinds(receivers) == ["step_failed", "not_fit"]
    assert "a reason" in receivers.posts[-1]["message"]

    shutil.rmtree(report)
    shutil.copytree(tmp_path / "report", report)
    assert run_dags(receivers, home, SUNDAY, *twice) == ["success"] * 2
    assert kinds(receivers) == ["step_failed", "not_fit", "recovered"]
    entries = (home / "alerts" / f"date={SUNDAY}.jsonl").read_text().splitlines()
    assert [json.loads(entry)["sent_to"] for entry in entries] == [
        ["banyan_smtp", "banyan_webhook"]
    ] * 3


def test_a_clean_day_sends_nothing(ran: CompletedRun, tmp_path, receivers):
    home = copy_home(ran.home, tmp_path / "home")
    both = ("daily_match:close", "check_deadline")
    assert run_dags(receivers, home, MONDAY, *both) == ["success"] * 2
    assert receivers.mails == []
    assert receivers.posts == []
    assert not (home / "alerts").exists()


def test_a_receiver_that_is_gone_loses_no_other_message_and_fails_nothing(tmp_path, receivers):
    receivers.variables["AIRFLOW_CONN_BANYAN_SMTP"] = json.dumps(
        {"conn_type": "smtp", "host": "127.0.0.1", "port": find_free_port()}
    )
    assert run_dags(receivers, tmp_path, MONDAY, "check_deadline") == ["failed"]
    assert [post["kind"] for post in receivers.posts] == ["deadline_missed"]
    assert receivers.mails == []
