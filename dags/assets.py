"""The results of the daily job, as Airflow assets.

They are outlets only. Another DAG may be scheduled on them; the DAGs of this project are not,
because a run that an asset starts has no logical date and cannot be backfilled by date.
"""

from airflow.sdk import Asset

lake = Asset("banyan-lake")
models = Asset("banyan-models")
matches = Asset("banyan-matches")
outbox = Asset("banyan-outbox")
reports = Asset("banyan-reports")
