"""Check at the agreed time that the lead files of the date before are complete.

The time is BANYAN_DELIVERY_DEADLINE, by default 07:00. If `daily_match` still waits, works or has
failed by then, the task fails, and its alert says at which step the date is. It only looks at the
home, so it never waits for a run.
"""

import pendulum
from airflow.sdk import dag
from airflow.timetables.trigger import CronTriggerTimetable

from dags.task_runner import DAG_OPTIONS, StepOperator
from pipelines.core.settings import Settings

SETTINGS = Settings()
ZONE, DEADLINE = SETTINGS.time_zone, SETTINGS.delivery_deadline


@dag(
    schedule=CronTriggerTimetable(
        f"{DEADLINE.minute} {DEADLINE.hour} * * *",
        timezone=ZONE,
        interval=pendulum.duration(days=1),
    ),
    start_date=pendulum.datetime(2015, 1, 1, tz=ZONE),
    **DAG_OPTIONS,
    doc_md=__doc__,
    tags=["daily"],
)
def check_deadline() -> None:
    StepOperator(task_id="check_deadline", needs_lock=False)


check_deadline()
