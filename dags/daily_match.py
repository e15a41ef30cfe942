"""Match one business date's leads with the products on offer, and write each institution's file.

One run is one business date of the platform's time zone: the date that starts the run's data
interval. The run starts when the date is over; a file that lands later belongs to the next run.

To run one date, trigger the DAG with `business_date`. To run a range again, use a backfill. Each
task publishes whole folders or nothing and gives the same bytes every time, so any task may be
cleared and run again. A task that *refuses* (its input breaks a contract) fails at once and says
what to do; retries are for failing machines.

`sign_off` holds the lead files of days that need an officer's decision; by default none does.

`send` brings the published deliveries to their institutions; one that can't be reached
fails no day, its delivery is a dead letter. `report` always runs, lists what is missing and states
the verdict of the day. `close` fails the run if a task before it failed, if a published file was
changed, unless leads in = leads out, and if the verdict is `not_fit`; what is published stays.
"""

import pendulum
from airflow.sdk import chain, dag
from airflow.timetables.interval import CronDataIntervalTimetable

from dags import assets
from dags.alerts import RecoveryAlert
from dags.run_lock import AwaitTurn
from dags.sign_off import SignOffOperator
from dags.task_runner import DAG_OPTIONS, WAREHOUSE, StepOperator
from pipelines.core.settings import Settings

ZONE = Settings().time_zone


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=ZONE),
    start_date=pendulum.datetime(1970, 1, 1, tz=ZONE),  # earlier than any imported record
    **DAG_OPTIONS,
    doc_md=__doc__,
    tags=["daily"],
)
def daily_match() -> None:
    plan_ingest, plan_deliver = (
        StepOperator(task_id="plan_ingest"),
        StepOperator(task_id="plan_deliver"),
    )
    deliver = StepOperator.partial(task_id="deliver", outlets=[assets.outbox]).expand(
        shard=plan_deliver.output
    )
    # a file that was refused, or a day without deliveries, holds no answer and no other file back
    follow_up = StepOperator(task_id="follow_up", trigger_rule="all_done")
    send = StepOperator(task_id="send", trigger_rule="all_done")
    report = StepOperator(task_id="report", trigger_rule="all_done", outlets=[assets.reports])
    # a day without deliveries is no failure
    close = StepOperator(
        task_id="close", trigger_rule="none_failed", on_success_callback=RecoveryAlert()
    )
    chain(
        AwaitTurn(task_id="await_turn"),
        plan_ingest,
        StepOperator.partial(task_id="ingest").expand(shard=plan_ingest.output),
        # a day without files has no shard
        StepOperator(task_id="collect", trigger_rule="none_failed", outlets=[assets.lake]),
        StepOperator(task_id="staging", pool=WAREHOUSE),
        StepOperator(task_id="intermediate", pool=WAREHOUSE),
        StepOperator(task_id="features", pool=WAREHOUSE),
        StepOperator(task_id="marts", pool=WAREHOUSE),
        StepOperator(task_id="train", outlets=[assets.models]),
        StepOperator(task_id="score"),
        StepOperator(task_id="match", outlets=[assets.matches]),
        SignOffOperator(task_id="sign_off"),
        plan_deliver,
    )
    chain(deliver, follow_up, send, report, close)
    chain([deliver, follow_up, send], close)


daily_match()
