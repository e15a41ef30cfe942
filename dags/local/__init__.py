"""The DAGs on one machine: in this process, or under a scheduler (`make airflow`)."""
