"""A standalone Spark cluster on this machine: one master and workers, each a process of its own."""

import os
import signal
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

HOST = "127.0.0.1"
START_SECONDS = 180.0
CLASSES = "org.apache.spark.deploy"


def find_free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind((HOST, 0))
        return int(listening.getsockname()[1])


class SparkCluster:
    """A master and workers with one core and 1 GB each; their logs are in `folder`."""

    def __init__(self, spark_home: Path, folder: Path, workers: int) -> None:
        self.master = f"spark://{HOST}:{find_free_port()}"
        self._home, self._folder = spark_home, folder
        self._started: list[subprocess.Popen[bytes]] = []
        port = self.master.rpartition(":")[2]
        self._start("master", "master.Master", "--port", port)
        self._wait_for("master", "started")
        self.workers = [
            self._start(
                f"worker-{number}",
                "worker.Worker",
                *("--cores", "1", "--memory", "1g", "--work-dir", f"{folder}/work-{number}"),
                self.master,
            )
            for number in range(workers)
        ]
        for number in range(workers):
            self._wait_for(f"worker-{number}", "Successfully registered with master")

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a command runs on the cluster."""
        return {
            "BANYAN_ENGINE": "spark",
            "BANYAN_SPARK_MASTER": self.master,
            "SPARK_LOCAL_IP": HOST,
        }

    def list_results(self, home: Path) -> list[Path]:
        """Return the results of portions that workers have written below `home`."""
        return list(home.glob(".spill-*/out-*.arrow"))

    def count_lost_executors(self) -> int:
        """Return how often the master lost a worker."""
        return self.read_log("master").count("Removing worker")

    def stop(self) -> None:
        for process in reversed(self._started):
            kill_group(process)

    def _start(self, name: str, role: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [f"{self._home}/bin/spark-class", f"{CLASSES}.{role}", "--host", HOST]
        with self.open_log(name) as log:
            process = subprocess.Popen(
                [*command, "--webui-port", "0", *arguments],
                env=os.environ | {"SPARK_HOME": f"{self._home}", "SPARK_LOCAL_IP": HOST},
                stdout=log,
                stderr=log,
                start_new_session=True,  # a worker is killed together with its executors
            )
        self._started.append(process)
        return process

    def _wait_for(self, name: str, text: str) -> None:
        end = time.monotonic() + START_SECONDS
        while text not in self.read_log(name):
            assert time.monotonic() < end, self.read_log(name)
            time.sleep(0.2)

    def open_log(self, name: str) -> BinaryIO:
        return (self._folder / f"{name}.log").open("wb")

    def read_log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text("utf-8", "replace")


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it started, by SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
