"""docker-compose.spark.yml follows the Compose specification and agrees with code and home."""

import re
import subprocess
import sys

import pytest
import yaml

from pipelines.core.settings import PROJECT, Settings

COMPOSE = PROJECT / "docker-compose.spark.yml"
compose = yaml.safe_load(COMPOSE.read_text("utf-8"))
server = yaml.safe_load((PROJECT / "docker-compose.yml").read_text("utf-8"))
services = compose["services"]
WORKERS = {"spark-worker-1", "spark-worker-2"}
OWN = WORKERS | {"spark-master"}


def test_it_follows_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    process = subprocess.run([*check, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_the_services_are_a_master_two_workers_and_the_scheduler():
    assert set(services) == OWN | {"scheduler"}
    assert "scheduler" in server["services"]


def test_the_settings_of_the_scheduler_are_valid_and_name_the_master():
    environment = services["scheduler"]["environment"]
    names = {"BANYAN_ENGINE": "engine", "BANYAN_SPARK_MASTER": "spark_master"}
    settings = Settings(**{field: environment[name] for name, field in names.items()})
    assert settings.engine == "spark"
    host, port = settings.spark_master.removeprefix("spark://").split(":")
    command = services[host]["command"]
    assert command[command.index("--host") + 1] == host
    assert command[command.index("--port") + 1] == port
    for name in WORKERS:
        assert services[name]["command"][-1] == settings.spark_master


def test_all_nodes_have_one_image_of_the_release_that_the_server_builds():
    images = {service["image"] for service in services.values()}
    assert images == {"banyan-spark:${BANYAN_VERSION:-local}"}
    for service in services.values():
        assert service["build"]["args"]["BASE"] == server["x-airflow"]["image"]
        assert "openjdk-17-jre-headless" in service["build"]["dockerfile_inline"]


def test_the_image_copies_only_what_docker_may_read():
    recipe = services["spark-master"]["build"]["dockerfile_inline"]
    (copied,) = re.findall(r"^COPY (\S+) \S+$", recipe, re.MULTILINE)
    assert (PROJECT / copied).is_file()
    assert f"!{copied}" in (PROJECT / ".dockerignore").read_text("utf-8").splitlines()


def test_workers_have_the_home_and_the_code_where_the_scheduler_has_them():
    scheduler = server["services"]["scheduler"]
    for name in WORKERS:
        for variable in ("BANYAN_HOME", "PYTHONPATH"):
            assert services[name]["environment"][variable] == scheduler["environment"][variable]
        assert set(services[name]["volumes"]) <= set(scheduler["volumes"])
        assert services[name]["user"] == scheduler["user"]


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_service_has_limits_rotated_logs_a_health_check_and_no_way_out(name):
    service = services[name]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["healthcheck"]
    assert "ports" not in service
    assert service["networks"] == ["spark"]
    assert compose["networks"]["spark"]["internal"] is True


def test_executors_are_found_by_the_name_of_the_service():
    defaults = compose["configs"]["spark_defaults"]["content"]
    assert "spark.driver.host scheduler" in defaults
    assert set(services["scheduler"]["networks"]) == {"default", "spark"}
