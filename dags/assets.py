"""What the daily job leaves for others, as Airflow assets.

Outlets only. Another DAG may be scheduled on them; ours aren't, because runs that assets start
have no logical date and so cannot be backfilled by date.
"""

from airflow.sdk import Asset

lake = Asset("banyan-lake")
models = Asset("banyan-models")
matches = Asset("banyan-matches")
outbox = Asset("banyan-outbox")
reports = Asset("banyan-reports")
