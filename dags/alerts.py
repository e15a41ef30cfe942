"""Alerts: one message for each cause, by mail and to a webhook, and one when it has passed.

A task that failed for good, a day that is not fit and a missed deadline each send one alert; a
retry, or the same failure again, sends none to a receiver that has it. When the day closes, one
message says that its alerts have passed. `alerts/date=D.jsonl` in the home records
what was sent, and so what is open.

Where alerts go is set by two connections of Airflow, in its page or as variables: `banyan_smtp`
(a mail server; the addresses are in BANYAN_ALERT_MAIL_TO) and `banyan_webhook` (an address that
takes a POST of JSON; `text` is what Slack and Mattermost show). Without them nothing is sent. A
message has no value of a row: its words come from the failed step, which never quotes one.
"""

import hashlib
import html
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from urllib.request import Request, urlopen

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import BaseNotifier, Connection, Context
from airflow.sdk.exceptions import AirflowNotFoundException

from dags.run_context import find_business_date
from pipelines.core.errors import BanyanError, DayNotFit, DeadlineMissed, DeliveryOnHold
from pipelines.core.settings import Settings
from pipelines.operations.alert_ledger import (
    RECOVERED,
    lock_alerts,
    read_open_alerts,
    record_alert,
)

log = logging.getLogger("banyan")

MAIL, WEBHOOK = "banyan_smtp", "banyan_webhook"
"""The ids of the connections that alerts use."""

TIMEOUT = 15
"""Seconds that a receiver has to answer."""

KINDS: dict[type[BanyanError] | type[None], str] = {
    DayNotFit: "not_fit",
    DeadlineMissed: "deadline_missed",
    DeliveryOnHold: "on_hold",
}
"""Error with which a step refused -> the kind of its alert; any other is `step_failed`."""

HEADLINES = {
    "step_failed": "{date}: {task} failed",
    "not_fit": "{date} is not fit",
    "deadline_missed": "{date}: lead files are late",
    "on_hold": "{date}: lead files are on hold",
    RECOVERED: "{date} has recovered",
}
"""Kind of alert -> its first line."""

RUNBOOK = {
    "step_failed": "docs/runbook.md, A step refuses",
    "not_fit": "docs/runbook.md, Findings of the report",
    "deadline_missed": "docs/runbook.md, Lead files are late",
    "on_hold": "docs/runbook.md, Lead files are on hold",
    RECOVERED: "",
}
"""Kind of alert -> where the runbook says what to do."""


@dataclass(frozen=True)
class Alert:
    """One message to the people who run Banyan."""

    kind: str
    date: str
    task: str
    message: str
    link: str
    runbook: str

    @property
    def headline(self) -> str:
        """The first line, which is the mail's subject."""
        return "Banyan: " + HEADLINES[self.kind].format(date=self.date, task=self.task)

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        runbook = f"What to do: {self.runbook}" if self.runbook else ""
        lines = (self.headline, self.message, runbook, self.link)
        return "\n".join(line for line in lines if line)

    @property
    def cause(self) -> str:
        """A short hash that is equal for the same failure of the same task and date."""
        content = f"{self.date} {self.task} {self.message}"
        return hashlib.sha256(content.encode()).hexdigest()[:12]


class FailureAlert(BaseNotifier):
    """Send the alert of a failed task, unless the same one is open (`on_failure_callback`)."""

    def notify(self, context: Context) -> None:
        """Send and record the alert."""
        settings, task_instance = Settings(), context["ti"]
        day = find_business_date(context, settings.zone)
        error = context.get("exception") or (
            "The task was stopped from outside: killed, out of memory, or longer than its limit."
        )
        kind = KINDS.get(type(getattr(error, "refusal", None)), "step_failed")
        alert = Alert(
            kind=kind,
            date=f"{day}",
            task=task_instance.task_id,
            message=f"{error}",
            link=task_instance.log_url,
            runbook=RUNBOOK[kind],
        )
        with lock_alerts(settings, day):
            is_open = read_open_alerts(settings, day).get(alert.cause)
            _send_and_record(settings, day, alert, is_open)


class RecoveryAlert(BaseNotifier):
    """Say that a date's open alerts have passed, if it has any (`on_success_callback`)."""

    def notify(self, context: Context) -> None:
        """Send and record the message."""
        settings, task_instance = Settings(), context["ti"]
        day = find_business_date(context, settings.zone)
        if not (alerts := read_open_alerts(settings, day).values()):
            return
        tasks = sorted({each["task"] for each in alerts})
        alert = Alert(
            kind=RECOVERED,
            date=f"{day}",
            task=task_instance.task_id,
            message=f"{', '.join(tasks)}: the date was run again and is complete.",
            link=task_instance.log_url,
            runbook=RUNBOOK[RECOVERED],
        )
        with lock_alerts(settings, day):
            _send_and_record(settings, day, alert)


def _send_and_record(
    settings: Settings, day: date, alert: Alert, is_open: Mapping[str, Any] | None = None
) -> None:
    """Send `alert` to the receivers that the open entry of its cause does not name."""
    reached = set() if is_open is None else set(is_open["sent_to"])
    sent_to = send_alert(settings, alert, reached)
    if sent_to or is_open is None:
        entry = {**asdict(alert), "cause": alert.cause, "sent_to": sorted(reached.union(sent_to))}
        record_alert(settings, day, entry)


def send_alert(settings: Settings, alert: Alert, reached: Collection[str] = ()) -> list[str]:
    """Send `alert` to every receiver that is set and return the ids of the ones that took it.

    The ones that it has `reached` before get no second one. A receiver that doesn't answer is
    logged: an alert never fails the task that it is about.
    """
    sent_to = []
    for connection_id, send in ((MAIL, _send_mail), (WEBHOOK, _post)):
        if connection_id in reached:
            continue
        try:
            connection = Connection.get(connection_id)
        except AirflowNotFoundException:
            continue
        try:
            send(settings, connection, alert)
        except Exception as error:  # noqa: BLE001 - any library's error; its text may hold a secret
            log.error(  # noqa: TRY400
                "An alert did not reach %s (%s:%s): %s. It is tried again when the step fails "
                "again; dags/README.md says how the connection is set.",
                *(connection_id, connection.host, connection.port, type(error).__name__),
            )
        else:
            sent_to.append(connection_id)
    return sent_to


def _send_mail(settings: Settings, _connection: Connection, alert: Alert) -> None:
    """Send `alert` by the mail server of the connection `banyan_smtp`."""
    with SmtpHook(smtp_conn_id=MAIL) as server:
        server.send_email_smtp(
            to=[address.strip() for address in settings.alert_mail_to.split(",")],
            subject=alert.headline,
            html_content=f"<pre>{html.escape(alert.text)}</pre>",
        )


def _post(_settings: Settings, connection: Connection, alert: Alert) -> None:
    """Post `alert` as JSON to the address of the connection `banyan_webhook`."""
    host = f"{connection.host}:{connection.port}" if connection.port else f"{connection.host}"
    base = host if "://" in host else f"{connection.conn_type}://{host}"
    address = f"{base}/{connection.schema or ''}"
    content = asdict(alert) | {"headline": alert.headline, "text": alert.text}
    request = Request(  # noqa: S310 - the operator's own address
        address,
        data=json.dumps(content, ensure_ascii=False).encode(),
        headers={"Content-Type": "application/json", **connection.extra_dejson.get("headers", {})},
    )
    with urlopen(request, timeout=TIMEOUT):  # noqa: S310
        pass
