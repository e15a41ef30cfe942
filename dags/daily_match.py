"""Match one business date's leads with the products on offer, and write each institution's file.

One run is one business date of the platform's time zone: the date that starts the run's data
interval. The run starts when the date is over; a file that lands later belongs to the next run.

To run one date, trigger the DAG with `business_date`. To run a range again, use a backfill. Each
task publishes whole folders or nothing and gives the same bytes every time, so any task may be
cleared and run again. A task that *refuses* (its input breaks a contract) fails at once and says
what to do; retries are for failing machines.

`report` always runs, lists what is missing and states the verdict of the day. `close` fails the run
if a task before it failed, if a published file was changed, unless leads in = leads out, and if the
verdict is `not_fit`; what is published stays.
"""

import pendulum
from airflow.sdk import chain, dag
from airflow.timetables.interval import CronDataIntervalTimetable

from dags import assets
from dags.run_lock_sensor import wait_for_run_lock
from dags.task_runner import BUSINESS_DATE, RETRIES, WAREHOUSE, mapped_step_task, step_task
from pipelines.core.settings import Settings

ZONE = Settings().time_zone


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=ZONE),
    start_date=pendulum.datetime(1970, 1, 1, tz=ZONE),  # earlier than any imported record
    catchup=False,
    max_active_runs=1,  # the run lock also serialises the runs of a backfill
    default_args=RETRIES,
    params={"business_date": BUSINESS_DATE},
    doc_md=__doc__,
    tags=["daily"],
)
def daily_match() -> None:
    plan_ingest, plan_deliver = step_task("plan_ingest"), step_task("plan_deliver")
    deliver = mapped_step_task("deliver", plan_deliver, outlets=[assets.outbox])
    close = step_task("close", trigger_rule="none_failed")  # a day without deliveries is no failure
    chain(
        wait_for_run_lock(),
        plan_ingest,
        mapped_step_task("ingest", plan_ingest),
        step_task(
            "collect", trigger_rule="none_failed", outlets=[assets.lake]
        ),  # a day without files has no shard
        step_task("staging", pool=WAREHOUSE),
        step_task("intermediate", pool=WAREHOUSE),
        step_task("features", pool=WAREHOUSE),
        step_task("marts", pool=WAREHOUSE),
        step_task("train", outlets=[assets.models]),
        step_task("score"),
        step_task("match", outlets=[assets.matches]),
        plan_deliver,
    )
    chain(deliver, step_task("report", trigger_rule="all_done", outlets=[assets.reports]), close)
    chain(deliver, close)


daily_match()
