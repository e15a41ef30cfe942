"""The DAGs on one machine: in this process (`run`), or under a real scheduler (`make airflow`)."""
