"""How the daily job is done, where it isn't SQL. Nothing in here imports Airflow."""

__version__ = "0.1.0"
