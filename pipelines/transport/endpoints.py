"""Where an institution's files go, and the errors of the way there.

Addresses, keys and passwords are in Airflow's connections, which only the DAGs read. They hand an
`Endpoint` to this package.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import paramiko

from pipelines.core.errors import BanyanError

HOST_KEY_CHANGED = "host_key_changed"
"""The reason of a dead letter whose server is not the pinned one."""


class TransportInterrupted(BanyanError):
    """An upload was cut or refused by a failing machine; a later attempt may succeed."""


class TransportRefused(BanyanError):
    """An upload can't succeed before a person changes something; `reason` is its code."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Endpoint:
    """The server and folder of one institution."""

    address: str
    """`sftp://HOST:PORT/FOLDER`, without a user."""
    folder: str
    """The folder that the institution agreed; it exists on the server."""
    host_key: str
    """The pinned public key of the server."""
    connect: Callable[[], AbstractContextManager[paramiko.SFTPClient]]
    """Open a session with the pinned server; the block ends it."""


FindEndpoint = Callable[[str], Endpoint]
"""Return the endpoint of an institution, or raise `TransportRefused`."""
