"""Match one business date's leads with the products on offer, and hand each institution its file.

One run is one business date of the platform's time zone: the date that starts the run's data
interval. It starts when the date is over; a file that lands later is taken in by the next run.

To run a date by hand, trigger with `business_date`. To run a range again, use a backfill. Each
task writes whole folders or nothing and gives the same bytes every time, so any task may be
cleared and run again. A task that *refuses* (its input breaks a promise) fails at once and says
what to do; retries are for machines that stumble.

`report` runs whatever happened before it and says what is missing. `close` fails the run if
anything upstream failed, and checks the published files and that leads in = leads out.
"""

import pendulum
from airflow.sdk import chain, dag
from airflow.timetables.interval import CronDataIntervalTimetable

from dags import assets
from dags.run_lock_sensor import await_turn
from dags.task_runner import BUSINESS_DATE, RETRIES, WAREHOUSE, sharded, step
from pipelines.core.settings import Settings

ZONE = Settings().time_zone


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=ZONE),
    start_date=pendulum.datetime(1970, 1, 1, tz=ZONE),  # before any record that may be replayed
    catchup=False,
    max_active_runs=1,  # for a backfill `await_turn` sees to it
    default_args=RETRIES,
    params={"business_date": BUSINESS_DATE},
    doc_md=__doc__,
    tags=["daily"],
)
def daily_match() -> None:
    plan_ingest, plan_deliver = step("plan_ingest"), step("plan_deliver")
    deliver = sharded("deliver", plan_deliver, outlets=[assets.outbox])
    close = step("close", trigger_rule="none_failed")  # nothing to deliver is no failure
    chain(
        await_turn(),
        plan_ingest,
        sharded("ingest", plan_ingest),
        step("collect", trigger_rule="none_failed", outlets=[assets.lake]),  # no shard: a quiet day
        step("staging", pool=WAREHOUSE),
        step("intermediate", pool=WAREHOUSE),
        step("features", pool=WAREHOUSE),
        step("marts", pool=WAREHOUSE),
        step("train", outlets=[assets.models]),
        step("score"),
        step("match", outlets=[assets.matches]),
        plan_deliver,
    )
    chain(deliver, step("report", trigger_rule="all_done", outlets=[assets.reports]), close)
    chain(deliver, close)


daily_match()
