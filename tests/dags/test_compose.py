"""docker-compose.yml follows the Compose specification and agrees with runs on one machine."""

import subprocess
import sys

import yaml

from dags.local.environment import airflow_environment
from pipelines.core.environment import NO_STATISTICS
from pipelines.core.settings import PROJECT, Settings

COMPOSE = PROJECT / "docker-compose.yml"
compose = yaml.safe_load(COMPOSE.read_text())
OWN = {"api-server", "dag-processor", "migration", "scheduler", "triggerer"}


def test_it_follows_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    process = subprocess.run([*check, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_the_services_are_airflow_postgresql_and_sftp():
    assert set(compose["services"]) == OWN | {"postgres", "sftp"}


def test_shared_variables_equal_the_ones_of_a_local_run():
    local = airflow_environment(Settings()) | NO_STATISTICS
    composed = compose["x-airflow"]["environment"]
    places = ("HOME", "FOLDER", "PATH", "SQL_ALCHEMY_CONN")
    shared = {name for name in local.keys() & composed.keys() if not any(p in name for p in places)}
    assert {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"} <= shared
    assert {name: composed[name] for name in shared} == {name: local[name] for name in shared}


def test_it_contains_no_secret():
    environment = compose["x-airflow"]["environment"]
    assert environment["AIRFLOW__API_AUTH__JWT_SECRET"].startswith("${BANYAN_SECRET")
    assert compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == "${BANYAN_SECRET}"


def test_every_folder_of_code_is_in_the_image():
    recipe = compose["x-airflow"]["build"]["dockerfile_inline"]
    for folder in ("dags", "dbt_project", "expectations", "models", "pipelines"):
        assert f"COPY {folder} {folder}" in recipe
        assert (PROJECT / folder).is_dir()
