"""The SFTP servers of institutions, from Airflow's connections `banyan_sftp_INSTITUTION`.

A connection has type `sftp`, the host, the port and the user; a password, or in its extra
`private_key` (or `key_file`) with `private_key_passphrase`; and in its extra `host_key`, the pinned
public key of the server (`ssh-ed25519 AAAA...`), and `remote_folder`. Without a pinned key nothing
is sent: who answers at the address may be anybody. Only what the connection has is used: no key of
the operator's own, and no server that was known before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import paramiko
from airflow.providers.ssh.hooks.ssh import SSHHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from pipelines.transport.endpoints import HOST_KEY_CHANGED, Endpoint, TransportRefused

PREFIX = "banyan_sftp_"


def find_endpoint(institution_id: str) -> Endpoint:
    """Return the endpoint of an institution.

    Raises:
        TransportRefused: It has no connection, or one without a pinned host key.
    """
    name = f"{PREFIX}{institution_id}"
    try:
        connection = Connection.get(name)
    except AirflowNotFoundException:
        raise TransportRefused(
            "connection_missing",
            f"Airflow has no connection `{name}`, so its files can't be sent; add it "
            "(docs/operations.md)",
        ) from None
    extra = connection.extra_dejson
    _require_pinned_key(name, extra)
    hook = _make_hook(name, extra)
    folder = str(extra.get("remote_folder") or ".")
    return Endpoint(
        address=f"sftp://{hook.remote_host}:{hook.port}/{folder.lstrip('/')}",
        folder=folder,
        host_key=" ".join(extra["host_key"].split()[:2]),
        connect=lambda: _connect(copy(hook)),  # a used hook keeps its client and its proxy
    )


def _require_pinned_key(name: str, extra: dict[str, Any]) -> None:
    unchecked = [
        option
        for option in ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change")
        if str(extra.get(option, "")).lower() == "true"
    ]
    if unchecked or not extra.get("host_key"):
        why = f"it sets {', '.join(unchecked)}" if unchecked else "it has no `host_key`"
        raise TransportRefused(
            "host_key_missing",
            f"the connection `{name}` doesn't pin the server's host key ({why}), so nothing is "
            "sent; add `host_key` to its extra, as the institution states it",
        )


def _make_hook(name: str, extra: dict[str, Any]) -> SSHHook:
    try:
        hook = SSHHook(ssh_conn_id=name, conn_retry_attempts=1)
    except (AirflowException, ValueError, paramiko.SSHException, OSError) as error:
        raise TransportRefused(
            "connection_invalid",
            f"the connection `{name}` can't be used ({type(error).__name__}); check host, "
            "`host_key` and `private_key`",
        ) from None
    hook.look_for_keys = False
    hook.key_file = extra.get("key_file")
    return hook


@contextmanager
def _connect(hook: SSHHook) -> Iterator[paramiko.SFTPClient]:
    """Yield a session of a new connection with the pinned server, and close the connection.

    The SFTP hook's own `get_managed_conn` keeps a session that failed to close, so the attempt
    after a cut link began on the dead one and was lost.
    """
    with hook.get_conn() as connection:
        client = connection.open_sftp()
        transport = client.get_channel().get_transport()
        if transport.get_remote_server_key() != hook.host_key:  # the system knows another one
            raise TransportRefused(HOST_KEY_CHANGED, "the server has not the pinned host key")
        yield client
