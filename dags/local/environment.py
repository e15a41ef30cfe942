"""What Airflow must be told before it is imported, for runs on this machine."""

import os
import sys
from pathlib import Path

from pipelines.core.settings import PROJECT, Settings

DAGS = PROJECT / "dags"


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that put Airflow's whole state below `settings.home`."""
    return {
        "AIRFLOW_HOME": str(settings.airflow.resolve()),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{settings.airflow_port}",
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": settings.time_zone,  # a bare date is a business date
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(settings.threads),  # 32 by default, each 120 MB
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str((settings.logs / "airflow").resolve()),
        # 5 seconds by default: too few for a server whose cores build tables and models, too
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "BANYAN_HOME": str(settings.home.resolve()),
        "PYTHONPATH": str(PROJECT),
    }


def enter(settings: Settings) -> None:
    """Give this process, and those it starts, the environment of Airflow for `settings`."""
    settings.airflow.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(settings))
    programs = Path(sys.executable).parent  # Airflow starts its parts by the name `airflow`
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def prepare() -> None:
    """Make Airflow's metadata database and the pool, where they aren't there yet.

    Airflow reads its configuration when it is imported, so `enter` comes first.
    """
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    from dags.task_runner import WAREHOUSE

    initdb()
    Pool.create_or_update_pool(
        WAREHOUSE, 1, "One task at a time opens the DuckDB file", include_deferred=False
    )


if __name__ == "__main__":
    prepare()
