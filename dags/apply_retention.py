"""Remove what is kept for longer than the policy allows (`expectations/policy/retention.yml`).

Every Sunday it removes each kind of data whose period has ended by the date before, with a proof in
`persons/erasures/` of the home and an entry in the ledger of persons. Where nothing is due it does
nothing. The report of each day, and `banyan retention`, say what goes next and what is overdue.
"""

import pendulum
from airflow.sdk import dag
from airflow.timetables.trigger import CronTriggerTimetable

from dags.task_runner import DAG_OPTIONS, StepOperator
from pipelines.core.settings import Settings

ZONE = Settings().time_zone


@dag(
    schedule=CronTriggerTimetable("30 12 * * 0", timezone=ZONE, interval=pendulum.duration(days=1)),
    start_date=pendulum.datetime(2015, 1, 1, tz=ZONE),
    **DAG_OPTIONS,
    doc_md=__doc__,
    tags=["weekly"],
)
def apply_retention() -> None:
    StepOperator(task_id="apply_retention")


apply_retention()
