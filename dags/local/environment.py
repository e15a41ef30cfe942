"""Airflow's configuration for runs on this machine, as environment variables."""

import json
import os
import sys
from pathlib import Path

from dags.lineage import NAMESPACE
from pipelines.core.environment import NO_STATISTICS, remove_variables
from pipelines.core.settings import PROJECT, Settings

DAGS = PROJECT / "dags"
FOREIGN = (
    *("AIRFLOW_", "_AIRFLOW_"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    *("OPENLINEAGE_", "MARQUEZ_"),
    *("GUNICORN_", "UVICORN_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "FLASK_"),
)
"""Beginnings of the variables of another Airflow and its servers; nothing here needs a proxy."""


OWN_CONNECTIONS = "AIRFLOW_CONN_BANYAN_"
"""Beginning of the variables with Airflow's connections that this project names."""

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
"""The variable with the address of Airflow's metadata."""


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that put Airflow's whole state below `settings.home`.

    Every path is stated here: an `airflow.cfg` has the paths of the home that it was written for,
    and a `%` in one would be taken for a reference to another option.
    """
    folder = settings.airflow.resolve()
    logs = (settings.logs / "airflow").resolve()
    return {
        "AIRFLOW_CONFIG": str(folder / "airflow.cfg"),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{settings.airflow_port}",
        "AIRFLOW__API__HOST": "127.0.0.1",  # the page is for this machine; by default all addresses
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": settings.time_zone,  # a bare date is a business date
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(settings.threads),  # 32 by default, each 120 MB
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
        DATABASE: f"sqlite:///{folder / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(logs / "dag_processor"),
        # 664 and 775 by default: the modes of every other file of the home
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": settings.file_mode,
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": settings.folder_mode,
        # 300 seconds by default: the task that a stop has killed waits for it after the next start
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
        # 5 seconds by default: too few for a server whose cores also build tables and models
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "BANYAN_HOME": str(settings.home.resolve()),
        "NO_PROXY": "localhost,127.0.0.1",  # a task talks to the server of this machine
        "PYTHONPATH": str(PROJECT),
        **lineage_environment(settings),
    }


def lineage_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of Airflow's OpenLineage provider: off, or events to a file."""
    if not settings.lineage:
        return {"AIRFLOW__OPENLINEAGE__DISABLED": "True"}
    transport = {
        "type": "file",
        "log_file_path": str(settings.lineage_events.resolve()),
        "append": True,
    }
    return {
        "AIRFLOW__OPENLINEAGE__DISABLED": "False",
        "AIRFLOW__OPENLINEAGE__DISABLE_SOURCE_CODE": "True",
        # 10 seconds by default, after which an event is lost; the first of dbt's layers needs more
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "120",
        "AIRFLOW__OPENLINEAGE__NAMESPACE": NAMESPACE,
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
    }


def set_airflow_environment(settings: Settings) -> None:
    """Set Airflow's variables for this process and the processes that it starts.

    Raises:
        RuntimeError: Airflow was imported before, with another home: it reads its variables on
            import and would use the other home.
    """
    variables = airflow_environment(settings)
    if "airflow" in sys.modules and os.environ.get("AIRFLOW_HOME") != variables["AIRFLOW_HOME"]:
        raise RuntimeError("Airflow is already imported with another home")
    settings.airflow.mkdir(parents=True, exist_ok=True)
    if settings.lineage:
        settings.lineage_events.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith(OWN_CONNECTIONS)}
    remove_variables(*FOREIGN)
    os.environ.update(kept | variables | NO_STATISTICS)
    programs = Path(sys.executable).parent  # Airflow starts its parts by the name `airflow`
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def close_folders(settings: Settings) -> None:
    """Give the home, and its folders that Airflow makes, no more rights than `BANYAN_UMASK` lets.

    Airflow makes its own for all users to read, and so does an image its empty home.
    """
    for folder in (settings.home, settings.airflow, settings.logs):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(folder.stat().st_mode & 0o777 & int(settings.folder_mode, 8))


def prepare_metadata() -> None:
    """Create Airflow's metadata database and the pool where they do not exist.

    Airflow reads its configuration on import, so the environment must be set before.
    """
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    from dags.task_runner import WAREHOUSE

    initdb()
    Pool.create_or_update_pool(
        WAREHOUSE, 1, "One task at a time opens the DuckDB file", include_deferred=False
    )
