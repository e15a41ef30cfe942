"""What runs needs no more than requirements.txt, in the versions that the tests used."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from pipelines.core.settings import PROJECT

OWN = {"dags", "expectations", "models", "pipelines"}
SPARK = ("pyspark", ("pipelines", "core"))
"""The engine of a cluster imports it where it is used; `requirements-spark.in` asks for it."""
PEERS = {"highspy", "lignum"}
"""Libraries that benchmarks compare with; only benchmarks import them."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requested(name: str) -> set[str]:
    lines = (PROJECT / name).read_text("utf-8").splitlines()
    return {canonical(match[0]) for line in lines if (match := re.match(r"[A-Za-z][\w.-]*", line))}


def pinned(name: str) -> set[tuple[str, str]]:
    text = (PROJECT / name).read_text("utf-8")
    return {
        (canonical(package), release)
        for package, release in re.findall(r"^([\w.-]+)(?:\[.*?\])?==([^\s;]+)", text, re.MULTILINE)
    }


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_the_code_imports_nothing_but_what_requirements_in_asks_for():
    foreign = {
        (name, path.relative_to(PROJECT).parts[:2])
        for folder in OWN
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for name in imports(path)
        if name not in OWN and name not in sys.stdlib_module_names
    }
    assert {name for name, _ in foreign} >= {"airflow", "duckdb", "prometheus_client"}
    distributions, wanted = packages_distributions(), requested("requirements.in")
    assert SPARK in foreign
    missing = {
        (name, place)
        for name, place in foreign - {SPARK}
        if not {canonical(each) for each in distributions.get(name, [])} & wanted
    }
    assert {name for name, _ in missing} == PEERS
    assert {place for _, place in missing} == {("pipelines", "bench")}


def test_tests_run_with_the_versions_that_run():
    runs, tests = pinned("requirements.txt"), pinned("requirements-dev.txt")
    assert len(runs) > 100
    assert runs <= tests
    assert {name for name, _ in tests} >= {"pytest", "ruff", "pip-audit"}
    assert not {name for name, _ in runs} & {"pytest", "ruff", "pip-audit", "highspy", "aiosmtpd"}


def test_spark_is_pinned_apart_and_brings_no_version_of_its_own():
    spark, runs = pinned("requirements-spark.txt"), pinned("requirements.txt")
    assert {name for name, _ in spark} == {"py4j", "pyspark"}
    assert not {name for name, _ in spark} & {name for name, _ in runs}


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "requirements-spark.txt"]
)
def test_every_request_is_pinned_with_hashes(name: str):
    names = {package for package, _ in pinned(name)}
    assert requested(name.replace(".txt", ".in")) - names == set()
    text = (PROJECT / name).read_text("utf-8")
    pins = re.split(r"\n(?=\S)", text.partition("\n")[2].strip())
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_a_pin_with_extras_is_there_without_them_too(name: str):
    text = (PROJECT / name).read_text("utf-8")
    extras = re.findall(r"^([\w.-]+)\[.*?\](==[^\s;]+)", text, re.MULTILINE)
    assert extras
    assert [
        pin for pin in extras if not re.search(rf"^{re.escape(''.join(pin))}", text, re.MULTILINE)
    ] == []


def test_a_server_installs_what_runs_and_a_clone_everything():
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text("utf-8"))
    image = compose["x-airflow"]["build"]["dockerfile_inline"]
    assert "--requirement requirements.txt" in image
    assert "requirements-dev" not in image
    assert "-r requirements-dev.txt" in (PROJECT / "Makefile").read_text("utf-8")


def test_the_page_of_licences_lists_what_is_pinned():
    page = (PROJECT / "docs" / "licences.md").read_text("utf-8").partition("## Accepted")[0]
    rows = re.findall(r"^\| (\S+) \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
    listed = {
        (name, release)
        for name, releases in rows
        if name not in {"package", "---"}
        for release in releases.split(", ")
    }
    assert listed == pinned("requirements.txt"), "run `make audit`, which writes the page"
