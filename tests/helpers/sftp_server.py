"""A real OpenSSH server on this machine, and a proxy in front of it that cuts the link."""

import getpass
import json
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.servers import find_free_port

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")

CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/{host_key}
AuthorizedKeysFile {folder}/client.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
"""


def make_key(path: Path) -> str:
    """Write a key pair and return the public half."""
    if not path.is_file():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", f"{path}"]
        subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text("utf-8").strip()


@dataclass
class SftpServer:
    """One `sshd` with its keys, and the folder that an institution gives the platform."""

    folder: Path
    port: int
    host_key: str = "host"
    process: subprocess.Popen | None = None

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def start(self, file_limit: int | None = None) -> None:
        """Start the server; `file_limit` is the most bytes of a file that it can write."""
        make_key(self.folder / self.host_key)
        make_key(self.folder / "client")
        self.inbox.mkdir(exist_ok=True)
        configuration = self.folder / "sshd_config"
        configuration.write_text(
            CONFIGURATION.format(port=self.port, folder=self.folder, host_key=self.host_key)
        )
        if getpass.getuser() == "root":
            Path("/run/sshd").mkdir(exist_ok=True)

        def limit_files() -> None:
            if file_limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        log = (self.folder / "log").open("a")
        command = [SSHD, "-D", "-e", "-f", configuration]
        self.process = subprocess.Popen(
            command,
            stderr=log,
            preexec_fn=limit_files,  # noqa: PLW1509 - no other thread runs yet
            restore_signals=False,
        )
        log.close()
        self._wait()

    def _wait(self) -> None:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=10)
            self.process = None

    def connection(self, port: int | None = None, **extra: Any) -> str:
        """Return the Airflow connection of the server, as JSON."""
        private_key = (self.folder / "client").read_text("utf-8")
        pinned = (self.folder / "host.pub").read_text("utf-8").strip()
        stated = {"host_key": pinned, "private_key": private_key, "remote_folder": f"{self.inbox}"}
        stated = {name: value for name, value in (stated | extra).items() if value is not None}
        return json.dumps(
            {
                "conn_type": "sftp",
                "host": "127.0.0.1",
                "port": port or self.port,
                "login": getpass.getuser(),
                "extra": stated,
            }
        )


@contextmanager
def sftp_server(folder: Path) -> Iterator[SftpServer]:
    """Run a server until the block ends."""
    if SSHD is None:
        pytest.fail("sshd is missing: install Debian's openssh-server (.ci/run does)")
    folder.mkdir(parents=True, exist_ok=True)
    server = SftpServer(folder, find_free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class CuttingProxy:
    """A TCP proxy that cuts its connections after so many bytes from the client."""

    target: int
    cuts: list[int]
    """Bytes after which each connection is cut, in order; later ones are not cut."""
    sent: list[int] = field(default_factory=list)
    """Bytes that each connection brought to the server."""
    port: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                limit = self.cuts.pop(0) if self.cuts else None
                self.sent.append(0)
                server = socket.create_connection(("127.0.0.1", self.target))
                number = len(self.sent) - 1
                for pair in ((client, server, limit, number), (server, client, None, None)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(
        self, source: socket.socket, target: socket.socket, limit: int | None, number: int | None
    ) -> None:
        with suppress(OSError):
            while data := source.recv(16_384):
                if number is not None:
                    if limit is not None:
                        data = data[: max(0, limit - self.sent[number])]
                    self.sent[number] += len(data)
                    time.sleep(0.01)  # as slow as a real link, so that the server can keep up
                target.sendall(data)
                if limit is not None and number is not None and self.sent[number] >= limit:
                    target.shutdown(socket.SHUT_WR)  # what is on its way still arrives
                    source.close()
                    return
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        self._listener.close()
