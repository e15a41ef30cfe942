"""Upload files by SFTP so that each arrives once and whole.

A file is written under a temporary name that ends in `.part`, read back, compared by its SHA-256
and then renamed. The temporary name holds the file's hash, so that a cut upload is resumed with
the bytes of the same file only. The manifest comes last: who sees it has every file that it names.
"""

import hashlib
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import paramiko

from pipelines.transport.endpoints import (
    HOST_KEY_CHANGED,
    TransportInterrupted,
    TransportRefused,
)

CHUNK = 32_768
"""Bytes of one SFTP request, which every server takes."""
LOGIN = "the server refused the login; correct user, key or password in the connection"
DIGITS = 12
"""Digits of a file's hash in its temporary name."""


@dataclass(frozen=True)
class LocalFile:
    """One file to upload."""

    path: Path
    sha256: str
    bytes: int
    is_replaceable: bool = False
    """Whether a newer file of the same name takes its place: the manifest and its signature."""

    @property
    def part(self) -> str:
        """Return the temporary name."""
        return f"{self.path.name}.{self.sha256[:DIGITS]}.part"


@dataclass(frozen=True)
class Deadline:
    """The moment at which an institution's time is over."""

    at: float

    def check(self) -> None:
        """Raise `TransportInterrupted` once the time is over."""
        if monotonic() > self.at:
            raise TransportInterrupted("the institution's time was over before the file was sent")


def upload_files(
    client: paramiko.SFTPClient,
    base: str,
    folder: str,
    files: Sequence[LocalFile],
    deadline: Deadline,
) -> None:
    """Upload `files`, in order, into `base/folder`; a file that arrived before is left alone.

    Args:
        client: An open session.
        base: The agreed folder; it must exist.
        folder: The folder of the delivery, which is made in it.
        files: The files, the manifest last.
        deadline: When the institution's time is over.

    Raises:
        TransportInterrupted: The link was cut, or the server failed.
        TransportRefused: A person must change something.
    """
    with describe_errors(base):
        target = _make_folder(client, base, folder)
        for file in files:
            deadline.check()
            _upload_file(client, target, file, deadline)


@contextmanager
def describe_errors(base: str) -> Iterator[None]:
    """Turn the errors of SSH and SFTP into words; their own text may quote what a server sent."""
    try:
        yield
    except paramiko.BadHostKeyException:
        raise TransportRefused(HOST_KEY_CHANGED, _describe_host_key()) from None
    except paramiko.AuthenticationException:
        raise TransportRefused("login", LOGIN) from None
    except PermissionError:
        raise TransportRefused(
            "permission", f"the server forbids to write in `{base}`; ask the institution"
        ) from None
    except FileNotFoundError:
        raise TransportRefused(
            "folder_missing",
            f"the server has no folder `{base}`; ask the institution, or correct `remote_folder` "
            "in the connection",
        ) from None
    except paramiko.SSHException as error:
        if "not found in known_hosts" in str(error):
            raise TransportRefused(HOST_KEY_CHANGED, _describe_host_key()) from None
        if "No authentication methods" in str(error):  # the connection has no key and no password
            raise TransportRefused("login", LOGIN) from None
        raise TransportInterrupted(f"the link failed ({type(error).__name__})") from None
    except (OSError, EOFError) as error:
        raise TransportInterrupted(_describe_failure(error)) from None


def _describe_host_key() -> str:
    return (
        "the server has another host key than the pinned one, so nothing was sent to it; ask the "
        "institution by another channel, and change `host_key` in the connection only if it "
        "confirms the new key"
    )


def _describe_failure(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    if str(error) == "Failure":  # the text of SSH_FX_FAILURE in OpenSSH
        return "the server could not write; its disk or quota may be full"
    return f"the link was cut ({type(error).__name__})"


def _make_folder(client: paramiko.SFTPClient, base: str, folder: str) -> str:
    """Return the path of the delivery's folder, which exists then."""
    client.stat(base)  # FileNotFoundError: the agreed folder itself is missing
    target = f"{base.rstrip('/')}/{folder}"
    if _find_size(client, target) is None:
        client.mkdir(target)
    return target


def _find_size(client: paramiko.SFTPClient, path: str) -> int | None:
    """Return the size of a remote file (0 of a folder); None: there is none."""
    try:
        found = client.stat(path)
    except FileNotFoundError:
        return None
    return 0 if stat.S_ISDIR(found.st_mode or 0) else int(found.st_size or 0)


def _upload_file(
    client: paramiko.SFTPClient, folder: str, file: LocalFile, deadline: Deadline
) -> None:
    final, part = f"{folder}/{file.path.name}", f"{folder}/{file.part}"
    present = _find_size(client, final)
    if present == file.bytes and _hash_remote(client, final, deadline) == file.sha256:
        return  # a run that was killed before it could record this had sent it
    if present is not None and not file.is_replaceable:
        raise TransportRefused(
            "conflict",
            f"the server has another file named {file.path.name} in `{folder}`; nothing was "
            "overwritten. Ask the institution which file it used, and have the other one removed",
        )
    _write_part(client, part, file, deadline)
    size = _find_size(client, part)
    if size != file.bytes or _hash_remote(client, part, deadline) != file.sha256:
        client.remove(part)
        raise TransportInterrupted(
            f"{size or 0:,} of {file.bytes:,} bytes of {file.path.name} arrived, or others than "
            "were sent; the disk or quota of the server may be full"
        )
    if file.is_replaceable and present is not None:
        client.posix_rename(part, final)
    else:
        client.rename(part, final)  # fails where the name is taken, so nothing is overwritten


def _write_part(
    client: paramiko.SFTPClient, part: str, file: LocalFile, deadline: Deadline
) -> None:
    """Write the rest of `file` behind the bytes of it that an earlier attempt brought.

    A server may still carry out what a cut link brought, as late as during this attempt. It does
    no harm: each request states its offset, so the same bytes go to the same place, and the file
    is never opened to be emptied.
    """
    present = _find_size(client, part)
    if present is not None and present > file.bytes:
        client.remove(part)
        present = None
    with file.path.open("rb") as source, _open_part(client, part, present) as target:
        present = present or 0
        source.seek(present)
        target.seek(present)
        target.set_pipelined(True)
        while chunk := source.read(CHUNK):
            deadline.check()
            target.write(chunk)


def _open_part(client: paramiko.SFTPClient, part: str, present: int | None) -> paramiko.SFTPFile:
    """Open a temporary file to write at any place; it is made if it is not present (None)."""
    if present is None:
        try:
            return client.file(part, "wxb")  # only if there is none, so that nothing is emptied
        except OSError:
            if _find_size(client, part) is None:
                raise
    return client.file(part, "r+b")


def _hash_remote(client: paramiko.SFTPClient, path: str, deadline: Deadline) -> str:
    """Return the SHA-256 of a remote file, from its bytes."""
    digest = hashlib.sha256()
    with client.open(path, "rb") as source:
        source.prefetch()
        while chunk := source.read(CHUNK):
            deadline.check()
            digest.update(chunk)
    return digest.hexdigest()
