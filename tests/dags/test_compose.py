"""docker-compose.yml follows the Compose specification and agrees with runs on one machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dags.local.environment import airflow_environment
from pipelines.core.environment import NO_STATISTICS
from pipelines.core.settings import PROJECT, Settings
from tests.docs.commands import code_blocks

COMPOSE = PROJECT / "docker-compose.yml"
compose = yaml.safe_load(COMPOSE.read_text())
every_service = pytest.mark.parametrize("name", compose["services"])
OWN = {"api-server", "dag-processor", "migration", "scheduler", "triggerer"}


def test_it_follows_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    process = subprocess.run([*check, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_the_services_are_airflow_postgresql_a_proxy_and_sftp():
    assert set(compose["services"]) == OWN | {"postgres", "proxy", "sftp"}


def test_shared_variables_equal_the_ones_of_a_local_run():
    local = airflow_environment(Settings()) | NO_STATISTICS
    composed = compose["x-airflow"]["environment"]
    places = ("HOME", "FOLDER", "PATH", "SQL_ALCHEMY_CONN", "BASE_URL")
    shared = {name for name in local.keys() & composed.keys() if not any(p in name for p in places)}
    assert {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"} <= shared
    assert {name: composed[name] for name in shared} == {name: local[name] for name in shared}


def test_every_secret_is_a_file_of_its_own(tmp_path):
    for name, secret in compose["secrets"].items():
        assert secret["file"].startswith("./secrets/"), name
    values = {"jwt_secret": "jwt", "api_secret": "api", "fernet_key": "fernet"}
    values["database_password"] = "password"
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")
    environment = {
        name: value.replace("$$", "$").replace("/run/secrets", str(tmp_path))
        for name, value in compose["x-airflow"]["environment"].items()
        if name.endswith("_CMD")
    }
    program = """
from airflow.configuration import conf
for option in ("database sql_alchemy_conn", "api_auth jwt_secret", "core fernet_key"):
    print(conf.get(*option.split()))
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        env=without_airflow(os.environ) | environment | {"AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.splitlines()[-3:] == [
        "postgresql+psycopg2://airflow:password@postgres/airflow",
        "jwt",
        "fernet",
    ]


@pytest.fixture
def set_up(tmp_path: Path) -> Path:
    """A folder in which the commands of the page that make secrets/ were run."""
    if os.geteuid():
        pytest.skip("only root may give files to the users of the services")
    page = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    (block,) = [
        "\n".join(lines)
        for _, lines in code_blocks(page)
        if any("sftp_users.conf" in line for line in lines)
    ]
    (tmp_path / "channel-a.pub").write_text("ssh-ed25519 AAAA partner\n")
    commands = ["bash", "-e", "-c", block.replace("sudo ", "")]
    subprocess.run(commands, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def may_read(path: Path, user: int, group: int) -> bool:
    status = path.stat()
    if status.st_uid == user:
        return bool(status.st_mode & 0o400)
    return bool(status.st_mode & (0o040 if status.st_gid == group else 0o004))


def test_each_service_may_read_its_secrets_and_no_others(set_up):
    files = {name: set_up / secret["file"] for name, secret in compose["secrets"].items()}
    assert not [name for name, path in files.items() if path.stat().st_mode & 0o007]
    for name, service in compose["services"].items():
        if name == "sftp":  # it begins as root
            continue
        user, group = map(int, service["user"].split(":"))
        readable = {secret for secret, path in files.items() if may_read(path, user, group)}
        assert readable >= set(service.get("secrets", ())), name
        if name == "postgres":
            assert readable == {"database_password"}


def test_what_sftp_mounts_exists_before_it_starts(set_up):
    page = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    for volume in compose["services"]["sftp"]["volumes"]:
        if volume["type"] == "bind":
            assert (set_up / volume["source"]).is_file()
        else:
            made = f"mkdir -p /home/banyan/state/landing/{volume['volume']['subpath']}"
            assert page.index(made) < page.index("docker compose up --detach")


def without_airflow(variables):
    return {name: value for name, value in variables.items() if "AIRFLOW_" not in name}


@every_service
def test_a_service_has_a_limit_of_memory_rotated_logs_and_no_new_rights(name):
    service = compose["services"][name]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    if name != "sftp":  # OpenSSH changes into each partner's user, which only root can
        assert service["user"] not in {"root", "0", "0:0"}


@every_service
def test_a_service_that_stays_up_has_a_health_check(name):
    assert ("healthcheck" in compose["services"][name]) == (name != "migration")


def test_only_the_proxy_and_sftp_are_reached_from_outside():
    assert {name for name, each in compose["services"].items() if "ports" in each} == {
        "proxy",
        "sftp",
    }


def test_every_folder_of_code_is_in_the_image():
    recipe = compose["x-airflow"]["build"]["dockerfile_inline"]
    assert "COPY requirements.in requirements.txt ./" in recipe  # `doctor` compares with the first
    for folder in ("dags", "dbt_project", "expectations", "models", "pipelines"):
        assert f"COPY {folder} {folder}" in recipe
        assert (PROJECT / folder).is_dir()
    spark = (PROJECT / "docker-compose.spark.yml").read_text("utf-8")
    copied = re.findall(r"^ *COPY (.+) \S+$", recipe + spark, re.MULTILINE)
    sent = (PROJECT / ".dockerignore").read_text().split("\n\n")[0].splitlines()
    assert "*" in sent  # the home, secrets and .env stay out of what Docker reads
    assert {line[1:] for line in sent if line.startswith("!")} == set(" ".join(copied).split())


def test_no_host_key_of_the_sftp_server_changes_with_its_container():
    kept = {secret["target"] for secret in compose["services"]["sftp"]["secrets"]}
    assert {f"/etc/ssh/ssh_host_{kind}_key" for kind in ("ed25519", "rsa")} <= kept
    setup = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    for kind in ("ed25519", "rsa"):
        file = f"secrets/sftp_host_{kind}_key"
        assert f"-f {file}" in setup
        assert compose["secrets"][f"sftp_host_{kind}_key"]["file"] == f"./{file}"
