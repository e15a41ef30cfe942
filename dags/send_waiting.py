"""Send what waits: deliveries outside of their institution's window, or whose server was away.

Twice an hour it looks at the last dates of `transport/`. A delivery that waits for its window, for
the receipt of a test delivery or for a server that answers is tried again. One that needs a person
first (a changed host key, an unusable key) is left to the verb `send`. A lead file that was held
until its institution, which fetches it, had acknowledged a test delivery is delivered. The report
of a date is written again if one of its files has arrived.
"""

import pendulum
from airflow.sdk import dag
from airflow.timetables.trigger import CronTriggerTimetable

from dags.task_runner import DAG_OPTIONS, StepOperator
from pipelines.core.settings import Settings

ZONE = Settings().time_zone


@dag(
    schedule=CronTriggerTimetable("15,45 * * * *", timezone=ZONE),
    start_date=pendulum.datetime(2015, 1, 1, tz=ZONE),
    **DAG_OPTIONS,
    doc_md=__doc__,
    tags=["daily"],
)
def send_waiting() -> None:
    StepOperator(task_id="send_waiting")


send_waiting()
