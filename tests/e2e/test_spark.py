"""Days on a real Spark cluster of two worker processes: every published byte is as on DuckDB."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipelines.core.settings import PROJECT
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY
from tests.e2e.published_bytes import differences
from tests.helpers.spark_cluster import SparkCluster, kill_group

pytestmark = [
    pytest.mark.prove,
    pytest.mark.skipif(
        find_spec("pyspark") is None,
        reason="pyspark is not installed: pip install -r requirements-spark.txt",
    ),
]
LONGEST = 1800.0
"""Seconds after which a step that waits for a worker is given up."""


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    spark_home = Path(find_spec("pyspark").submodule_search_locations[0])
    cluster = SparkCluster(spark_home, tmp_path_factory.mktemp("cluster"), workers=2)
    try:
        yield cluster
    finally:
        cluster.stop()


def start(cluster: SparkCluster, home: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a command on the cluster, with portions of a few leads."""
    with cluster.open_log("command") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.small_portions", *arguments, "--home", str(home)],
            cwd=PROJECT,
            env=os.environ | cluster.environment | {"PYTHONPATH": str(PROJECT)},
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


def test_two_days_on_spark_publish_the_bytes_of_two_days_on_duckdb(
    cluster: SparkCluster, landed: Path, ran: CompletedRun, tmp_path: Path
):
    home = copy_home(landed, tmp_path)
    process = start(cluster, home, "run", "--date", f"{SUNDAY}", "--to", f"{MONDAY}")
    seen = 0
    while process.poll() is None:
        seen = max(seen, len(cluster.list_results(home)))
        time.sleep(0.05)
    assert process.returncode == 0, cluster.read_log("command")
    assert seen > 3  # workers, and not this machine, computed the portions
    assert differences(ran.home, home) == []


def test_a_worker_killed_in_the_middle_changes_no_byte(
    cluster: SparkCluster, ran: CompletedRun, tmp_path: Path
):
    home = copy_home(ran.home, tmp_path)
    shutil.rmtree(home / "pairs" / f"date={MONDAY}")
    process = start(cluster, home, "score", "--date", f"{MONDAY}")
    end = time.monotonic() + LONGEST
    try:
        wait_for_portions_of_pairs(process, cluster, home, end)
        done, every = cluster.list_results(home), list(home.glob(".spill-*/in-*.arrow"))
        kill_group(cluster.workers[0])
        assert process.wait(LONGEST) == 0, cluster.read_log("command")
    finally:
        kill_group(process)
    assert 0 < len(done) < len(every)
    assert cluster.count_lost_executors() == 1
    assert differences(ran.home, home) == []


def wait_for_portions_of_pairs(
    process: "subprocess.Popen[bytes]", cluster: SparkCluster, home: Path, end: float
) -> None:
    """Return when workers have scored some portions of pairs."""
    while not (list(home.glob(".spill-*/leads.parquet")) and len(cluster.list_results(home)) > 3):
        assert process.poll() is None, cluster.read_log("command")
        assert time.monotonic() < end
        time.sleep(0.02)
