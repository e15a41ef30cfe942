"""docker-compose.yml keeps the Compose specification and says the same as runs on one machine."""

import subprocess
import sys

import yaml

from dags.local.environment import airflow_environment
from pipelines.core.settings import NO_STATISTICS, PROJECT, Settings

COMPOSE = PROJECT / "docker-compose.yml"
compose = yaml.safe_load(COMPOSE.read_text())
OWN = {"api-server", "dag-processor", "migration", "scheduler", "triggerer"}


def test_it_keeps_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    ended = subprocess.run([*check, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_airflow_stands_beside_postgresql_and_an_sftp_server():
    assert set(compose["services"]) == OWN | {"postgres", "sftp"}


def test_what_is_told_to_airflow_is_what_is_told_on_one_machine():
    here = airflow_environment(Settings()) | NO_STATISTICS
    there = compose["x-airflow"]["environment"]
    of_the_place = {name for name in here if "HOME" in name or "FOLDER" in name or "PATH" in name}
    shared = here.keys() & there.keys() - of_the_place
    assert {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"} <= shared
    assert {name: there[name] for name in shared} == {name: here[name] for name in shared}


def test_no_secret_is_written_in_it():
    said = compose["x-airflow"]["environment"]
    assert said["AIRFLOW__API_AUTH__JWT_SECRET"].startswith("${BANYAN_SECRET")
    assert compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == "${BANYAN_SECRET}"


def test_every_folder_of_code_is_in_the_image():
    recipe = compose["x-airflow"]["build"]["dockerfile_inline"]
    for folder in ("dags", "dbt_project", "expectations", "models", "pipelines"):
        assert f"COPY {folder} {folder}" in recipe
        assert (PROJECT / folder).is_dir()
