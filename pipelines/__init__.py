"""The steps of the daily job, except for the SQL of dbt. Nothing in here imports Airflow."""

__version__ = "0.1.0"
