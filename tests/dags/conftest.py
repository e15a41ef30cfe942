"""A home for Airflow, set before a test imports it: Airflow reads its variables on import."""

import os
import tempfile
from pathlib import Path

from dags.local.environment import airflow_environment
from pipelines.core.settings import Settings

_HOME = tempfile.TemporaryDirectory(prefix="banyan-airflow-")
os.environ.update(
    {
        name: value
        for name, value in airflow_environment(Settings(home=Path(_HOME.name))).items()
        if name.startswith("AIRFLOW")
    }
)
