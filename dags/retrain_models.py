"""Train the week's models on the records known before its Monday began.

`daily_match` trains a week's models itself when the registry lacks them, so no day waits for this
DAG. It runs once Monday's leads are matched. To train the models of a week again, for example after
a correction, trigger it with a `business_date` of that week which was run. The same data gives the
same models, byte for byte.
"""

import pendulum
from airflow.sdk import dag
from airflow.timetables.trigger import CronTriggerTimetable

from dags import assets
from dags.alerts import RecoveryAlert
from dags.task_runner import DAG_OPTIONS, StepOperator
from pipelines.core.settings import Settings

ZONE = Settings().time_zone


@dag(
    schedule=CronTriggerTimetable(  # early on Tuesday, for Monday
        "0 4 * * 2", timezone=ZONE, interval=pendulum.duration(days=1)
    ),
    start_date=pendulum.datetime(2015, 1, 1, tz=ZONE),
    **DAG_OPTIONS,
    doc_md=__doc__,
    tags=["weekly"],
)
def retrain_models() -> None:
    StepOperator(task_id="retrain", outlets=[assets.models], on_success_callback=RecoveryAlert())


retrain_models()
