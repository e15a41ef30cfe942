"""The task that holds the lead files of a day until an officer has decided.

Which days need a decision is `hold` in `expectations/policy/sign_off.yml`; of the others the task
does nothing. It waits in Airflow's state `awaiting_input`, which occupies no worker and counts no
try, and shows under Required Actions. Either answer counts: in Airflow's page, or `banyan signoff`
and then clearing the task. The run holds the run lock meanwhile, so later dates wait with it.
"""

import logging
from typing import Any

import pendulum
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param

from dags.alerts import FailureAlert
from dags.run_context import find_business_date, task_name
from dags.run_lock import hold_run_lock
from dags.task_runner import StepRefused, run_task
from pipelines.core.errors import BanyanError, DeliveryOnHold
from pipelines.core.evidence import DECISIONS
from pipelines.core.settings import Settings

log = logging.getLogger("banyan")

PATIENCE = pendulum.duration(days=7)
"""Time that an officer has to answer in Airflow; then the task fails, and nothing is delivered."""


class SignOffOperator(HITLOperator):
    """Run the step `sign_off`; if the day waits for a decision, ask for it.

    `waits` is False where no server can take an answer: the task fails with the same words.
    """

    def __init__(self, **options: Any):
        options["params"] = {  # what is asked; the DAG's own parameters are no question
            "note": Param("", type="string", description="What others should know later"),
        }
        super().__init__(
            subject="May the lead files of this day be delivered?",
            options=list(DECISIONS),
            response_timeout=PATIENCE,
            notifiers=[FailureAlert()],
            **options,
        )
        self.waits = True

    def execute(self, context: Context, event: object = None) -> Any:  # noqa: ARG002
        """Return the state of the hold if the day may be delivered; else ask, or refuse."""
        hold_run_lock(self, context)
        counts = self._find_state(context)
        if counts["state"] == "open":
            return counts
        if counts["state"] == "refused" or not self.waits:
            raise _refuse(counts["message"])
        self.body = counts["message"]
        context["exception"] = _refuse(counts["message"])  # the words of the alert
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer in the ledger, and go on or refuse by it."""
        from pipelines.reports.sign_off import record_sign_off  # noqa: PLC0415 - heavy to parse

        answer = super().execute_complete(context, event)
        settings = Settings()
        user = answer["responded_by_user"] or {}
        try:
            record_sign_off(
                settings,
                find_business_date(context, settings.zone),
                by=user.get("name") or user.get("id") or "a user of Airflow",
                decision=answer["chosen_options"][0],
                note=answer["params_input"].get("note") or "",
                via="Airflow",
            )
        except BanyanError as error:
            raise StepRefused(error) from None
        counts = self._find_state(context)
        if counts["state"] != "open":
            raise _refuse(counts["message"])
        return counts

    def _find_state(self, context: Context) -> dict[str, Any]:
        settings = Settings()
        day = find_business_date(context, settings.zone)
        counts: dict[str, Any] = run_task(
            settings, day, self.task_id, task_name(context["ti"]), None
        )
        return counts


def _refuse(message: str) -> StepRefused:
    log.error("%s", message)
    return StepRefused(DeliveryOnHold(message))
